"""Gain of a chain of hosts over the best pairing of fewer of them."""

from __future__ import annotations

from markupsafe import Markup

from paretopipe_runtime.contract.replicas import hosts_of
from reports.data.cells import Cell, Split
from reports.objectives import Objective
from reports.page.figures import link, margin, say, times
from reports.page.sections.verdict.answer import Sentence
from reports.page.sheet import Sheet
from reports.statistics.difference import beside

_SAYS = {
    "better": "pay in {objective}: {best} {does} {own}, {gain} {than} {rival}",
    "worse": "do not pay in {objective}: {rival} {does} {theirs}, {loss} {than} {best}",
    "equal": "make no difference in {objective}: {best} {does} {own}, within {margin} of {rival}",
    "undecided": "may or may not pay in {objective}: {best} {does} {own}, {rival} {theirs}",
}


def sentences(sheet: Sheet, cell: Cell) -> list[Sentence]:
    """Compare the best splits of three hosts or more with those of pairings of fewer."""
    fewer = [other for other in sheet.cells if _within(other, cell) and sheet.decisions[other.id]]
    if len(hosts_of(cell.hosts)) < 3 or not fewer or sheet.decisions[cell.id] is None:
        return []
    found = [_clause(sheet, cell, fewer, one) for one in cell.objectives]
    text = Markup("{}.").format(Markup("; ").join(found))
    return [Sentence(f"{len(hosts_of(cell.hosts))} hosts", text)]


def _within(other: Cell, cell: Cell) -> bool:
    """Tell whether a cell differs in having some of the other's hosts only."""
    alike = all(
        own == cell.variant[key]
        for key, own in other.variant.items()
        if isinstance(own, str)  # a host's own factors are as long as its chain
    )
    same = other.scenario == cell.scenario and other.asked == cell.asked
    return alike and same and {*hosts_of(other.hosts)} < {*hosts_of(cell.hosts)}


def _clause(sheet: Sheet, cell: Cell, fewer: list[Cell], objective: Objective) -> Markup:
    best = _best(sheet, cell, objective)
    rivals = ((other, _best(sheet, other, objective)) for other in fewer)
    other, rival = min(rivals, key=lambda pair: pair[1].rank(objective))
    outcome = beside(
        *(sheet.contests[cell.id], best.cuts, sheet.contests[other.id], rival.cuts, objective)
    )
    return Markup(_SAYS[outcome]).format(  # nosec B704 # literals; their arguments are escaped
        objective=objective.name,
        best=link(best),
        rival=Markup("{} of {}").format(link(rival), other.over_hosts),
        does=objective.does,
        than=objective.than,
        own=say(best, objective),
        theirs=say(rival, objective),
        gain=times(1 + rival.loss(objective, best)),
        loss=times(1 + best.loss(objective, rival)),
        margin=margin(objective.within(sheet.delta)),
    )


def _best(sheet: Sheet, cell: Cell, objective: Objective) -> Split:
    answer = sheet.decisions[cell.id]
    picks = {answer.of(objective).pick} if answer else set()
    return next(split for split in cell.known if split.cuts in picks)
