"""The first screen: what the noise allows to say, then a decision a cell beside its front.

``decision`` says which split to take, ``splitting`` whether it pays at all, ``changes`` what
another network changes, ``notes`` the caveats.
"""

from __future__ import annotations

from typing import Any

from reports.data import repeat
from reports.data.cells import Cell
from reports.page.draw import mini
from reports.page.figures import margin
from reports.page.sections.verdict import changes, decision, notes, splitting
from reports.page.sections.verdict.answer import doubts
from reports.page.sheet import Section, Sheet
from reports.statistics import noise
from reports.words import slug


def build(sheet: Sheet) -> list[Section]:
    groups = [
        {
            **panels,
            "once": changes.one_for_all(sheet, group),
            "changes": [*changes.between(sheet, group), *changes.predicted(sheet, group)],
        }
        for group, panels in zip(
            sheet.groups, sheet.panels(lambda cell: _panel(sheet, cell)), strict=True
        )
    ]
    return [
        {
            "id": "verdict",
            "title": "Verdict",
            "noise": noise.sentence(sheet.cells, sheet.records.noises),
            "notes": notes.notes(sheet.records, sheet.cells, sheet.frame),
            "groups": groups,
            "unlocked": any(cell.unlocked for cell in sheet.cells),
            "delta": margin(sheet.delta),
            "believed": any(cell.standing for cell in sheet.cells),
        }
    ]


def _panel(sheet: Sheet, cell: Cell) -> dict[str, Any]:
    answer, judgement = sheet.decisions[cell.id], sheet.judgements[cell.id]
    first, *rest = decision.sentences(cell, sheet)
    found = {"pick": first.text, "sentences": [*rest, *doubts(cell, judgement)], "mini": ""}
    if answer is None:
        return found
    split = decision.by_cuts(cell)[answer.both.pick]
    return {
        **found,
        "mini": mini.front(
            cell, decision.marks(cell, answer), judgement.front(cell), cell.objectives[:2]
        ),
        "chart": f"front-{slug(cell.id)}",
        "name": split.name,
        "again": repeat.of_split(cell, split.name, split.cuts),
        "whole": repeat.of_all(cell) if cell.standing else "",
        "pays": splitting.sentence(cell, sheet.contests[cell.id], answer),
    }
