"""Judge splits by the user's goals: by the interval of a typical value, never by the median."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from paretopipe_runtime.contract.goals import Goal
from paretopipe_runtime.contract.splits import Cuts
from reports.statistics.difference import Contest

Answer = Literal["pass", "undecided", "fail"]
ANSWERS: tuple[Answer, ...] = ("pass", "undecided", "fail")
Intervals = Mapping[str, tuple[float, float]]  # by figure

_DIGITS = 4  # as the page has them: its script must find the same


def intervals(contest: Contest, cuts: Cuts) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each objective, by figure; none if the spread is unknown."""
    found = {one.figure: contest.interval(cuts, one) for one in contest.objectives}
    return {figure: (_short(ends[0]), _short(ends[1])) for figure, ends in found.items() if ends}


def answer(goals: Sequence[Goal], known: Intervals) -> Answer:
    """Judge a split: every goal has to be passed, and one failed is enough.

    >>> answer([Goal("latency", 0.08)], {"latency_s": (0.071, 0.079)})
    'pass'
    >>> answer([Goal("latency", 0.08)], {})
    'undecided'
    """
    each = {_one(goal, known) for goal in goals}
    if "fail" in each:
        return "fail"
    return "pass" if each == {"pass"} else "undecided"


def _one(goal: Goal, known: Intervals) -> Answer:
    if goal.figure not in known:
        return "undecided"
    low, high = known[goal.figure]
    if low == high == goal.limit:
        return "pass" if goal.reached else "fail"
    better, worse = (high < goal.limit, low > goal.limit)
    if not goal.lower:
        better, worse = worse, better
    return "pass" if better else "fail" if worse else "undecided"


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
