"""Whether splitting pays at all: the best split against everything on one host."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reports.data.cells import Cell, Split
from reports.page.figures import link, margin, times
from reports.page.goals import BOTH, Measure
from reports.statistics.within import Contest


def ends(cell: Cell) -> list[Split]:
    """Return the end points that were measured."""
    return [end for end in cell.end_points if end.runs]


def short(cell: Cell, contest: Contest) -> str:
    """Return whether splitting pays in a few words, for a table."""
    if not ends(cell) or not cell.measured:
        return "not measured"
    found = {measure.goal: _outcome(cell, measure, contest) for measure in BOTH}
    gains = [goal for goal, outcome in found.items() if outcome == "yes"]
    if gains:
        known = ends(cell)
        # Against one of the two nothing is known: the other might be the better choice.
        against = "" if len(known) > 1 else f" against {known[0].name}"
        other = "unclear" if "open" in found.values() else "not"
        rest = ", ".join(f"{other} in {goal}" for goal in found if goal not in gains)
        return (f"pays in {gains[0]}, {rest}" if rest else "pays") + against
    return "unclear" if "open" in found.values() else "does not pay"


def sentence(cell: Cell, contest: Contest) -> Markup:
    """Say in one sentence what splitting gains over everything on one host, or loses to it."""
    known = ends(cell)
    if not known:
        return _unknown(cell)
    outcomes = [_outcome(cell, measure, contest) for measure in BOTH]
    latency, throughput = (
        _clause(cell, measure, outcome, known, contest.delta)
        for measure, outcome in zip(BOTH, outcomes, strict=True)
    )
    lacking = Markup()
    if len(known) < 2:
        lacking = Markup(" Of the two end points only {} has a valid run.").format(known[0].name)
    if len(set(outcomes)) == 1:
        whole = _WHOLE[outcomes[0]]
        return Markup("{}: {}; {}.{}").format(whole, latency, throughput, lacking)
    return Markup("In latency splitting {}: {}. In throughput it {}: {}.{}").format(
        *(_PART[outcomes[0]], latency, _PART[outcomes[1]], throughput, lacking)
    )


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


def _outcome(cell: Cell, measure: Measure, contest: Contest) -> str:
    """Return whether the best split beats every end point: yes, no, equal or open."""
    best = measure.best(cell)
    found = {contest.outcome(best.cuts, end.cuts, measure.goal) for end in ends(cell)}
    for seen, outcome in (("worse", "no"), ("undecided", "open"), ("equal", "equal")):
        if seen in found:
            return outcome
    return "yes"


def _clause(
    cell: Cell, measure: Measure, outcome: str, known: Sequence[Split], delta: float
) -> Markup:
    best = measure.best(cell)
    rival = min(known, key=lambda end: (-measure.gain(end, best), end.cuts))
    if outcome == "yes":
        gains = Markup(" and ").join(
            Markup("{} {} {}").format(times(measure.gain(best, end)), measure.than, link(end))
            for end in sorted(known, key=lambda end: end.cuts)
        )
        return Markup("{} {} {}, {}").format(link(best), measure.does, measure.say(best), gains)
    pair = (link(rival), measure.does, measure.say(rival))
    if outcome == "no":
        return Markup("{} {} {}, {} {} the best split, {}").format(
            *pair, times(measure.gain(rival, best)), measure.than, link(best)
        )
    if outcome == "equal":
        return Markup("{} {} {}, within {} of the best split, {}").format(
            *pair, margin(delta), link(best)
        )
    return Markup("{} {} {}, the best split, {}, {}: the runs cannot tell which is better").format(
        *pair, link(best), measure.say(best)
    )
