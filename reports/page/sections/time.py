"""Parts of a batch's time, a bar a split."""

from __future__ import annotations

from typing import Any

from reports.data.cells import Cell
from reports.page.draw import bars, canvas
from reports.page.sheet import Section, Sheet


def build(sheet: Sheet) -> list[Section]:
    def panel(cell: Cell) -> dict[str, Any]:
        return {"phases": cell.measured and bars.phases(cell, sheet.judgements[cell.id])}

    splits = (split for cell in sheet.cells for split in cell.measured)
    depth = max((len(split.stages) for split in splits), default=0)
    stages = [
        (f"stage {number}", canvas.PALETTE.index(canvas.stage_colour(number)))
        for number in range(1, depth + 1)
    ]
    groups = sheet.panels(panel)
    return [{"id": "time", "title": "Where the time goes", "groups": groups, "stages": stages}]
