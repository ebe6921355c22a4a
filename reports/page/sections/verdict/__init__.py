"""The first screen: a table of answers and caveats, then a card a cell.

``splitting`` says whether it pays, ``answer`` where to split, ``changes`` what another network
changes, ``notes`` the caveats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from reports.data.cells import Cell
from reports.objectives import Objective
from reports.page.figures import behind, link, margin
from reports.page.sections.verdict import changes, notes, splitting
from reports.page.sections.verdict.answer import compromise, sentences
from reports.page.sections.verdict.changes import Bet, safest
from reports.page.sheet import Section, Sheet
from reports.statistics import noise
from reports.statistics.difference import Contest
from reports.words import asked, number

_NONE = Markup("–")


def build(sheet: Sheet) -> list[Section]:
    def panel(cell: Cell) -> dict[str, Any]:
        judgement, contest = sheet.judgements[cell.id], sheet.contests[cell.id]
        return {"sentences": sentences(cell, judgement, contest)}

    groups = [
        {
            **panels,
            "lines": [
                *answers(group, sheet.objectives, sheet.contests),
                *whichever(group, sheet.objectives),
            ],
            "changes": [
                *changes.one_for_all(group, sheet.objectives),
                *changes.between(group, sheet.contests),
                *changes.predicted(group, sheet.predictors),
            ],
        }
        for group, panels in zip(sheet.groups, sheet.panels(panel), strict=True)
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
            "titles": [objective.title for objective in sheet.objectives],
        }
    ]


def answers(
    cells: Sequence[Cell], objectives: Sequence[Objective], contests: Mapping[str, Contest]
) -> list[dict[str, Any]]:
    """Return a line a network: the best split by each objective, the balanced one, if it pays."""
    return [
        {
            "scenario": cell.scenario,
            "asked": asked(cell.asked),
            "bests": [(one.title, _best(cell, one)) for one in objectives if cell.measured],
            "balanced": link(compromise(cell)) if cell.measured else _NONE,
            "splitting": splitting.short(cell, contests[cell.id]),
        }
        for cell in cells
    ]


def whichever(cells: Sequence[Cell], objectives: Sequence[Objective]) -> list[dict[str, Any]]:
    """Return the splits with the smallest worst loss, for an unknown network."""
    bets = [(objective, safest(cells, objective)) for objective in objectives]
    if not any(bet for _, bet in bets):
        return []
    return [
        {
            "scenario": "whichever of these",
            "asked": "",
            "bests": [(one.title, _bet(bet, one) if bet else _NONE) for one, bet in bets],
            "balanced": _NONE,
            "splitting": "–",
        }
    ]


def _bet(bet: Bet, objective: Objective) -> Markup:
    worst = behind(objective, bet.loss, name=False)
    said = f"at worst {worst} the best" if bet.loss else "the best under each"
    return Markup('{} <span class="quiet">{}</span>').format(link(bet.split), said)


def _best(cell: Cell, objective: Objective) -> Markup:
    if objective not in cell.objectives:
        return _NONE
    best = cell.best(objective)
    value = Markup('<span class="quiet">{}\N{NO-BREAK SPACE}{}</span>').format(
        number(best.median(objective)), objective.unit
    )
    return Markup("{} {}").format(link(best), value)
