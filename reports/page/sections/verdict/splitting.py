"""Gain of the best split over running unsplit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat

from markupsafe import Markup

from reports.data.cells import Cell, Split
from reports.objectives import Objective
from reports.page.figures import link, margin, prose, say, times
from reports.statistics.decision import Decision
from reports.statistics.difference import Contest
from reports.words import number


def ends(cell: Cell) -> list[Split]:
    return [end for end in cell.end_points if end.runs]


def short(cell: Cell, contest: Contest, answer: Decision) -> str:
    """Return '1.7× the images/s; no clear gain in latency'."""
    known = ends(cell)
    if not known:
        return "not measured"
    gains = []
    others: dict[str, list[str]] = {}
    for one in cell.objectives:
        outcome = _outcome(cell, one, contest, answer)
        best = _best(cell, one, answer)
        rival = min(known, key=lambda end: (end.rank(one), end.cuts))
        if outcome == "yes":
            gain = number(one.gain(best.median(one), rival.median(one)), 2)
            gains.append(f"{gain}× {'as fast' if one.lower else f'the {one.unit}'}")
        else:
            others.setdefault(_SHORT[outcome], []).append(one.name)
    parts = gains + [f"{what} in {' or '.join(names)}" for what, names in others.items()]
    # One of the two is unmeasured, and might be the better choice.
    against = "" if len(known) > 1 else f" (against {known[0].name} only)"
    return "; ".join(parts) + against


_SHORT = {"no": "does not pay", "equal": "no gain", "open": "no clear gain"}


def sentence(cell: Cell, contest: Contest, answer: Decision) -> Markup:
    """State the gain or loss of splitting over one host."""
    known = ends(cell)
    if not known:
        return _unknown(cell)
    found = [(one, _outcome(cell, one, contest, answer)) for one in cell.objectives]
    clauses = [
        _clause(_best(cell, one, answer), one, outcome, known, contest.delta)
        for one, outcome in found
    ]
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


def _best(cell: Cell, objective: Objective, answer: Decision) -> Split:
    pick = answer.of(objective).pick
    return next(split for split in cell.known if split.cuts == pick)


def _outcome(cell: Cell, objective: Objective, contest: Contest, answer: Decision) -> str:
    """Compare the best split with end points: yes, no, equal or open."""
    best = _best(cell, objective, answer)
    found = {contest.outcome(best.cuts, end.cuts, objective) for end in ends(cell)}
    for seen, outcome in (("worse", "no"), ("undecided", "open"), ("equal", "equal")):
        if seen in found:
            return outcome
    return "yes"


def _clause(
    best: Split, objective: Objective, outcome: str, known: Sequence[Split], delta: float
) -> Markup:
    def gain(one: Split, other: Split) -> str:
        return f"{times(1 + other.loss(objective, one))} {objective.than}"

    rival = min(known, key=lambda end: (end.rank(objective), end.cuts))
    if outcome == "yes":
        gains = prose(
            [
                Markup("{} {}").format(gain(best, end), link(end))
                for end in sorted(known, key=lambda end: end.cuts)
            ]
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
