"""The data inside the page, as far as it fits, and where the rest is."""

from __future__ import annotations

import base64
import lzma
from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd

from reports.page.sheet import Section, Sheet

TABLE = "runs.csv"
# What would not fit if it packed twice as well as records do is not packed to find out.
_PACKS_TO = 1 / 24
# Files of the same model pack alike: to no less than this share of what another one packed to.
_ALIKE = 0.8
_SAMPLE = 100  # rows, to know how long a table is before it is written


@dataclass(frozen=True)
class Download:
    """A file: its name, its place beside the page, and its content as a URL if it is inside."""

    name: str
    beside: str
    what: str
    data: str = ""


def build(sheet: Sheet) -> list[Section]:
    """Return the table and the record files as links to what lies beside the page."""
    table = "every attempt, one row each, rounded to seven digits inside this file"
    downloads = [Download("runs.csv.xz", TABLE, table)]
    downloads += [
        Download(
            f"{file.name}.xz",
            f"records/{file.name}",
            f"records as measured; {file.size / 1000:,.0f} kB unpacked",
        )
        for file in sheet.records.files
    ]
    return [
        {
            **{"id": "downloads", "title": "Downloads", "template": "downloads"},
            "downloads": downloads,
        }
    ]


def embed(section: Section, sheet: Sheet, room: int) -> Section:
    """Return the section with the files' content inside it, in order, while there is room.

    Parameters
    ----------
    section
        As `build` returned it.
    sheet
        What the page is about.
    room
        How many characters the page may grow by.
    """
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
    """Return how large each file is, about, and what gives its content."""
    frame = sheet.frame
    sample = len(_rounded(frame.iloc[:_SAMPLE]))
    return [
        (round(sample * max(1, len(frame) / _SAMPLE)), lambda: _rounded(frame).encode()),
        *((file.size, file.path.read_bytes) for file in sheet.records.files),
    ]


def _url(data: bytes) -> str:
    # A quarter smaller than gzip, and unpacked by xz, 7-Zip, tar and Python. Higher presets gain
    # a twentieth in twice the time.
    packed = lzma.compress(data, preset=4)
    return f"data:application/x-xz;base64,{base64.b64encode(packed).decode('ascii')}"


def _rounded(frame: pd.DataFrame) -> str:
    """Return the table with seven digits: all 17 of a float pack to twice the size."""
    # Whole numbers among the floats stay whole, however large.
    whole = frame.convert_dtypes()
    return whole.to_csv(index=False, lineterminator="\n", float_format="%.7g")
