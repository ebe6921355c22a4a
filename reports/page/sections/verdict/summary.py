"""The answers as a table, a row a pairing and network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports.data.cells import Cell
from reports.objectives import Objective
from reports.page.figures import behind, link
from reports.page.sections import provenance
from reports.page.sections.verdict import splitting
from reports.page.sections.verdict.answer import compromise
from reports.page.sections.verdict.changes import Bet, safest
from reports.statistics.difference import Contest
from reports.words import number


@dataclass(frozen=True)
class Answer:
    """A row; answers without measurements are empty."""

    scenario: str
    asked: str
    bests: tuple[tuple[str, Markup], ...]  # of each objective, under its title
    balanced: Markup
    splitting: str


def answers(
    cells: Sequence[Cell], objectives: Sequence[Objective], contests: Mapping[str, Contest]
) -> list[Answer]:
    return [_answer(cell, objectives, contests[cell.id]) for cell in cells]


def whichever(cells: Sequence[Cell], objectives: Sequence[Objective]) -> list[Answer]:
    """Return the splits with the smallest worst loss, for an unknown network."""
    bets = [(objective, safest(cells, objective)) for objective in objectives]
    if not any(bet for _, bet in bets):
        return []
    bests = tuple((one.title, _bet(bet, one) if bet else _NONE) for one, bet in bets)
    return [Answer("whichever of these", "", bests, _NONE, "–")]


_NONE = Markup("–")


def _bet(bet: Bet, objective: Objective) -> Markup:
    worst = behind(objective, bet.loss, name=False)
    said = f"at worst {worst} the best" if bet.loss else "the best under each"
    return Markup('{} <span class="quiet">{}</span>').format(link(bet.split), said)


def _answer(cell: Cell, objectives: Sequence[Objective], contest: Contest) -> Answer:
    asked = provenance.asked(cell.asked)
    if not cell.measured:
        return Answer(cell.scenario, asked, (), Markup(), "")
    bests = tuple((one.title, _best(cell, one)) for one in objectives)
    short = splitting.short(cell, contest)
    return Answer(cell.scenario, asked, bests, link(compromise(cell)), short)


def _best(cell: Cell, objective: Objective) -> Markup:
    if objective not in cell.objectives:
        return _NONE
    best = cell.best(objective)
    value = Markup('<span class="quiet">{}\N{NO-BREAK SPACE}{}</span>').format(
        number(best.median(objective)), objective.unit
    )
    return Markup("{} {}").format(link(best), value)
