"""The data inside the page."""

from __future__ import annotations

import base64
import gzip

from reports.page.sheet import Section, Sheet


def build(sheet: Sheet) -> list[Section]:
    """Return the table and the record files, each as a link that holds it."""
    table = ("paretopipe.csv", "text/csv", _embedded(sheet.csv.encode()))
    downloads = [
        (*table, "every attempt, one row each"),
        *(_download(file.name, file.raw) for file in sheet.records.files),
    ]
    return [
        {
            **{"id": "downloads", "title": "Downloads", "template": "downloads"},
            "downloads": downloads,
        }
    ]


def _download(name: str, raw: bytes) -> tuple[str, str, str, str]:
    # A fixed time: gzip would otherwise write today's into the file.
    packed = gzip.compress(raw, mtime=0)
    what = f"the records as measured, {len(raw) / 1000:,.0f} kB unpacked"
    return (f"{name}.gz", "application/gzip", _embedded(packed), what)


def _embedded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
