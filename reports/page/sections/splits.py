"""A table of all measurements a cell, and one of its unsplit runs."""

from __future__ import annotations

from typing import Any

from paretopipe_runtime.judging.doubtful import UNSEEN
from reports.data.cells import Cell
from reports.page import tables
from reports.page.draw import charts
from reports.page.sheet import Section, Sheet


def build(sheet: Sheet) -> list[Section]:
    def panel(cell: Cell) -> dict[str, Any]:
        judgement = sheet.judgements[cell.id]
        asked = tables.Asked(sheet.contests[cell.id], sheet.goals)
        drawn = {split.row_id for split in charts.drawn(cell)}
        return {
            "table": tables.build(cell, judgement, sheet.decisions[cell.id], asked, drawn),
            "rest": tables.rest(cell, sheet.valid, judgement.unreliable),
            "ends": tables.end_points(cell, sheet.valid, asked, drawn),
        }

    return [
        {
            "id": "splits",
            "title": "All splits",
            "groups": sheet.panels(panel),
            "believed": any(cell.standing for cell in sheet.cells),
            "unseen": f"{UNSEEN:g}",
        }
    ]
