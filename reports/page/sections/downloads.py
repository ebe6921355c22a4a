"""The data inside the page, as far as it fits, and where the rest is."""

from __future__ import annotations

import base64
import lzma
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pandas as pd

from reports.page.sheet import Section, Sheet

# Records pack to about a twelfth: what is this many times larger than the room cannot fit.
_PACKS_TO = 1 / 24


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
    downloads = [Download("runs.csv.xz", "runs.csv", table)]
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
    found = []
    contents = _contents(sheet, room)
    for download, content in zip(section["downloads"], contents, strict=True):
        if 0 < len(content) <= room:
            room -= len(content)
            download = Download(download.name, download.beside, download.what, content)
        found.append(download)
    return {**section, "downloads": found}


def _contents(sheet: Sheet, room: int) -> Iterator[str]:
    """Yield each file as a data URL; nothing for one that is too large to try."""
    table = _rounded(sheet.frame).encode()
    found: list[tuple[int, Callable[[], bytes]]] = [(len(table), partial(bytes, table))]
    found += [(file.size, file.path.read_bytes) for file in sheet.records.files]
    for size, content in found:
        yield _url(content()) if size * _PACKS_TO <= room else ""


def _url(data: bytes) -> str:
    # A quarter smaller than gzip, and unpacked by xz, 7-Zip, tar and Python.
    packed = lzma.compress(data, preset=9)
    return f"data:application/x-xz;base64,{base64.b64encode(packed).decode('ascii')}"


def _rounded(frame: pd.DataFrame) -> str:
    """Return the table with seven digits: all 17 of a float pack to twice the size."""
    # Whole numbers among the floats stay whole, however large.
    whole = frame.convert_dtypes()
    return whole.to_csv(index=False, lineterminator="\n", float_format="%.7g")
