"""Download links, with data inside the page where it fits."""

from __future__ import annotations

import base64
import lzma
from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd

from reports.page.sheet import Section, Sheet

TABLE = "runs.csv"
# Not worth trying to pack: would not fit at twice records' usual compression.
_PACKS_TO = 1 / 24
# Files of one model compress alike: none to less than this share of another.
_ALIKE = 0.8
_SAMPLE = 100  # rows that a table's size is estimated from


@dataclass(frozen=True)
class Download:
    """A file with its content as a URL if it is embedded."""

    name: str
    beside: str
    what: str
    data: str = ""


def build(sheet: Sheet) -> list[Section]:
    table = "every attempt, a row each, seven digits"
    downloads = [Download("runs.csv.xz", TABLE, table)]
    downloads += [
        Download(
            f"{file.name}.xz",
            f"records/{file.name}",
            f"records as measured, {file.size / 1000:,.0f} kB",
        )
        for file in sheet.records.files
    ]
    return [
        {
            "id": "downloads",
            "title": "Downloads",
            "downloads": downloads,
        }
    ]


def embed(section: Section, sheet: Sheet, room: int) -> Section:
    """Embed files, in order, within `room` characters."""
    found, packs_to = [], _PACKS_TO
    for download, (size, content) in zip(section["downloads"], _contents(sheet), strict=True):
        data = _url(content()) if size * packs_to <= room else ""
        if data and download.beside != TABLE:
            packs_to = max(packs_to, _ALIKE * len(data) / max(size, 1))
        if 0 < len(data) <= room:
            room -= len(data)
            download = replace(download, data=data)
        found.append(download)
    return {**section, "downloads": found}


def _contents(sheet: Sheet) -> list[tuple[int, Callable[[], bytes]]]:
    """Return each file's approximate size and the function that reads it."""
    frame = sheet.frame
    sample = len(_rounded(frame.iloc[:_SAMPLE]))
    return [
        (round(sample * max(1, len(frame) / _SAMPLE)), lambda: _rounded(frame).encode()),
        *((file.size, file.path.read_bytes) for file in sheet.records.files),
    ]


def _url(data: bytes) -> str:
    # A quarter smaller than gzip, and widely supported. Higher presets gain
    # a twentieth in twice the time.
    packed = lzma.compress(data, preset=4)
    return f"data:application/x-xz;base64,{base64.b64encode(packed).decode('ascii')}"


def _rounded(frame: pd.DataFrame) -> str:
    """Return the table as CSV with seven digits: all 17 pack to twice the size."""
    # Keep large whole numbers whole.
    whole = frame.convert_dtypes()
    return whole.to_csv(index=False, lineterminator="\n", float_format="%.7g")
