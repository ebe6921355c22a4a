"""Gain of the best split over running unsplit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat

from markupsafe import Markup

from reports.data.cells import Cell, Split
from reports.objectives import Objective
from reports.page.figures import link, margin, say, times
from reports.statistics.difference import Contest
from reports.words import listing


def ends(cell: Cell) -> list[Split]:
    return [end for end in cell.end_points if end.runs]


def short(cell: Cell, contest: Contest) -> str:
    if not ends(cell) or not cell.measured:
        return "not measured"
    found = {one.name: _outcome(cell, one, contest) for one in cell.objectives}
    gains = [name for name, outcome in found.items() if outcome == "yes"]
    if gains:
        known = ends(cell)
        # One of the two is unmeasured, and might be the better choice.
        against = "" if len(known) > 1 else f" against {known[0].name}"
        other = "unclear" if "open" in found.values() else "not"
        rest = [name for name in found if name not in gains]
        how = f" in {listing(gains)}, {other} in {listing(rest)}" if rest else ""
        return f"pays{how}{against}"
    return "unclear" if "open" in found.values() else "does not pay"


def sentence(cell: Cell, contest: Contest) -> Markup:
    """State the gain or loss of splitting over one host."""
    known = ends(cell)
    if not known:
        return _unknown(cell)
    found = [(one, _outcome(cell, one, contest)) for one in cell.objectives]
    clauses = [_clause(cell, one, outcome, known, contest.delta) for one, outcome in found]
    lacking = Markup()
    if len(known) < 2:
        lacking = Markup(" Of the two end points only {} has a valid run.").format(known[0].name)
    if len({outcome for _, outcome in found}) == 1:
        whole = _WHOLE[found[0][1]]
        return Markup("{}: {}.{}").format(whole, Markup("; ").join(clauses), lacking)
    parts = [
        Markup("In {} {} {}: {}.").format(one.name, subject, _PART[outcome], clause)
        for (one, outcome), clause, subject in zip(
            found, clauses, chain(["splitting"], repeat("it")), strict=False
        )
    ]
    return Markup(" ").join(parts) + lacking


_WHOLE = {
    "yes": "Splitting pays",
    "no": "Splitting does not pay here",
    "equal": "Splitting makes no difference here",
    "open": "Whether splitting pays is not clear",
}
_PART = {
    "yes": "pays",
    "no": "does not pay",
    "equal": "makes no difference",
    "open": "may or may not pay",
}


def _unknown(cell: Cell) -> Markup:
    if cell.end_points or cell.plan.get("end_points"):
        return Markup(
            "Whether splitting pays is not known yet: everything on one host has no valid run."
        )
    return Markup(
        "Whether splitting pays was not measured: the plan has no end points. Sweep again under "
        "another name, <code>-e end_points=true -e sweep=…</code>: they must be measured beside "
        "the splits, not later."
    )


def _outcome(cell: Cell, objective: Objective, contest: Contest) -> str:
    """Compare the best split with end points: yes, no, equal or open."""
    best = cell.best(objective)
    found = {contest.outcome(best.cuts, end.cuts, objective) for end in ends(cell)}
    for seen, outcome in (("worse", "no"), ("undecided", "open"), ("equal", "equal")):
        if seen in found:
            return outcome
    return "yes"


def _clause(
    cell: Cell, objective: Objective, outcome: str, known: Sequence[Split], delta: float
) -> Markup:
    def gain(one: Split, other: Split) -> str:
        return f"{times(1 + other.loss(objective, one))} {objective.than}"

    best = cell.best(objective)
    rival = min(known, key=lambda end: (end.rank(objective), end.cuts))
    if outcome == "yes":
        gains = Markup(" and ").join(
            Markup("{} {}").format(gain(best, end), link(end))
            for end in sorted(known, key=lambda end: end.cuts)
        )
        return Markup("{} {} {}, {}").format(
            link(best), objective.does, say(best, objective), gains
        )
    pair = (link(rival), objective.does, say(rival, objective))
    if outcome == "no":
        return Markup("{} {} {}, {} the best split, {}").format(
            *pair, gain(rival, best), link(best)
        )
    if outcome == "equal":
        return Markup("{} {} {}, within {} of the best split, {}").format(
            *pair, margin(objective.within(delta)), link(best)
        )
    return Markup("{} {} {}, the best split, {}, {}: the runs cannot tell which is better").format(
        *pair, link(best), say(best, objective)
    )
