"""How everything was measured and what the words mean."""

from __future__ import annotations

from reports.page import notes
from reports.page.sheet import Section, Sheet


def build(sheet: Sheet) -> list[Section]:
    """Return the methods."""
    return [
        {
            **{"id": "methods", "title": "Methods", "template": "methods"},
            "proof": notes.proof(sheet.frame),
            "repeats": sorted({s.runs for cell in sheet.cells for s in cell.measured}),
        }
    ]
