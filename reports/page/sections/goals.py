"""The user's own goals: which splits meet them, cell by cell."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from paretopipe_runtime.contract.codecs import NONE
from paretopipe_runtime.contract.goals import GOAL, MEASURES, SENTENCES
from paretopipe_runtime.contract.models import is_onnx
from paretopipe_runtime.contract.splits import codec_of
from reports import paper
from reports.data.cells import Cell
from reports.objectives import ACCURACY
from reports.page.figures import links
from reports.page.sheet import Section, Sheet
from reports.page.tables import Asked
from reports.statistics.goals import ANSWERS, Answer
from reports.words import count, slug


def build(sheet: Sheet) -> list[Section]:
    if not any(cell.measured for cell in sheet.cells):
        return []
    return [
        {
            "id": "goals",
            "title": "Your own goals",
            "goal": ",".join(goal.text for goal in sheet.goals),
            "accuracy": any(goal.figure == ACCURACY.figure for goal in sheet.goals),
            "example": ",".join(measure.example for measure in MEASURES.values()),
            "unknown": _unknown(sheet),
            "groups": sheet.panels(lambda cell: _panel(cell, sheet)),
            "data": {
                "goal": GOAL,
                "measures": [(name, asdict(measure)) for name, measure in MEASURES.items()],
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


def _unknown(sheet: Sheet) -> str:
    """Say where no accuracy is known, and why: once, if it is so everywhere."""
    said = {cell.id: _lacking(cell) for cell in sheet.cells if cell.known}
    if len({*said.values()}) == 1:
        return next(iter(said.values()))
    cells = {cell.id: sheet.naming.place(cell) for cell in sheet.cells}
    return " ".join(f"{cells[cell_id]}: {text}" for cell_id, text in said.items() if text)


def _lacking(cell: Cell) -> str:
    lacking = [split for split in cell.known if split.of(ACCURACY) is None]
    if not lacking:
        return ""
    of = "any split" if len(lacking) == len(cell.known) else count(len(lacking), "split")
    if is_onnx(cell.model):
        why = paper.NO_IMAGES
    elif not {**cell.plan, **cell.settings}.get("weights_digest"):
        why = "with random weights an answer is right by chance alone"
    elif all(codec_of(split.cuts) == NONE for split in cell.known):
        why = "it is told in a sweep of splits with a codec, as of -e codec=none,int8"
    else:
        why = cell.unjudged or "not all have been tried on held-out images yet"
    return f"Accuracy is not known of {of}, so a goal of it is undecided there: {why}."


def counted(answers: Counter[Answer]) -> str:
    """Return '3 pass, 2 undecided, 15 fail'; goals.js says the same."""
    return ", ".join(f"{answers[answer]} {answer}" for answer in ANSWERS)
