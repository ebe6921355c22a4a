"""The whole answer in one small table: a row for each pairing and network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports.data.cells import Cell
from reports.page.figures import busiest, fastest, later, less, link
from reports.page.sections import provenance
from reports.page.sections.verdict import splitting as pays
from reports.page.sections.verdict.answer import compromise
from reports.page.sections.verdict.changes import Bet, safest
from reports.statistics.within import Contest
from reports.words import number


@dataclass(frozen=True)
class Line:
    """One pairing and network; every answer is empty where nothing was measured."""

    scenario: str
    asked: str
    latency: Markup
    throughput: Markup
    balanced: Markup
    pays: str


def lines(cells: Sequence[Cell], contests: Mapping[str, Contest]) -> list[Line]:
    """Return the rows of one pairing."""
    return [_line(cell, contests[cell.id]) for cell in cells]


def whichever(cells: Sequence[Cell]) -> list[Line]:
    """Return a row for who cannot know the network: the splits that lose least at worst."""
    lag, few = safest(cells, "latency"), safest(cells, "throughput")
    if lag is None or few is None:
        return []
    return [
        Line(
            "whichever of these",
            "",
            _bet(lag, later(lag.loss)),
            _bet(few, less(few.loss)),
            Markup("–"),
            "–",
        )
    ]


def _bet(bet: Bet, behind: str) -> Markup:
    said = f"at worst {behind} the best" if bet.loss else "the best under each"
    return Markup('{} <span class="quiet">{}</span>').format(link(bet.split), said)


def _line(cell: Cell, contest: Contest) -> Line:
    asked = provenance.asked(cell.asked)
    if not cell.measured:
        return Line(cell.scenario, asked, Markup(), Markup(), Markup(), "")
    fast, busy, middle = fastest(cell), busiest(cell), compromise(cell)
    return Line(
        cell.scenario,
        asked,
        Markup("{} {}").format(link(fast), _unit(number(fast.latency), "s")),
        Markup("{} {}").format(link(busy), _unit(number(busy.throughput), "images/s")),
        link(middle),
        pays.short(cell, contest),
    )


def _unit(value: str, unit: str) -> Markup:
    return Markup('<span class="quiet">{}\N{NO-BREAK SPACE}{}</span>').format(value, unit)
