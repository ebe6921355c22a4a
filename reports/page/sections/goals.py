"""The user's own goals: which splits meet them, cell by cell."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from paretopipe_runtime.contract.goals import GOAL, MEASURES, SENTENCES
from reports.data.cells import Cell
from reports.page.figures import links
from reports.page.sheet import Section, Sheet
from reports.page.tables import Asked
from reports.statistics.goals import ANSWERS, Answer
from reports.words import slug


def build(sheet: Sheet) -> list[Section]:
    if not any(cell.measured for cell in sheet.cells):
        return []
    return [
        {
            "id": "goals",
            "title": "Your own goals",
            "goal": ",".join(goal.text for goal in sheet.goals),
            "example": ",".join(measure.example for measure in MEASURES.values()),
            "groups": sheet.panels(lambda cell: _panel(cell, sheet)),
            "data": {
                "goal": GOAL,
                "measures": {name: asdict(measure) for name, measure in MEASURES.items()},
                "sentences": SENTENCES,
            },
        }
    ]


def _panel(cell: Cell, sheet: Sheet) -> dict[str, Any]:
    if not cell.measured:
        return {"table": ""}
    asked = Asked(sheet.contests[cell.id], sheet.goals)
    found = [(split, asked.answer(split)) for split in cell.known] if sheet.goals else []
    passing = [split for split, said in found if said == "pass"]
    return {
        "table": f"splits-{slug(cell.id)}",
        "said": counted(Counter(said for _, said in found)) if found else "",
        "passing": links(passing, limit=12) if passing else "",
    }


def counted(answers: Counter[Answer]) -> str:
    """Return '3 pass, 2 undecided, 15 fail'; goals.js says the same."""
    return ", ".join(f"{answers[answer]} {answer}" for answer in ANSWERS)
