"""What the runs of one cell allow to say about its splits: on the front, off it, or undecided.

Beside it the strict front of medians, "as in the paper", whose members are decided by differences
of any size, and what the numbers themselves are worth: the smallest difference they can tell, runs
far from all others, splits with too many invalid attempts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import expm1, log, sqrt
from statistics import median

import moocore
import numpy as np
from scipy.special import stdtrit

from paretopipe_runtime.judging.membership import Aim, Decision, decide
from paretopipe_runtime.judging.model import Cuts, Fit, Run, fit
from reports.data.cells import Cell, Split
from reports.objectives import DELTA, Objective
from reports.statistics.pareto import front

OUTLYING = 5.0
INVALID_SHARE = 0.2
_POWER, _LEVEL = 0.8, 0.05


@dataclass(frozen=True)
class Judgement(Decision):
    """The verdicts on a cell's measured splits, with what they stand on."""

    delta: float
    strict: frozenset[Cuts]  # the front of medians
    # Of each objective the smallest ratio - 1 between two splits likely to be seen; none: unknown.
    detectable: tuple[float, ...]
    hypervolume: float | None
    outliers: tuple[tuple[Cuts, int, float], ...]  # split, round, robust z; flagged and counted
    unreliable: frozenset[Cuts]  # more than a fifth of the attempts were invalid

    def front(self, cell: Cell) -> tuple[Split, ...]:
        """Return the splits on the strict front of medians, by the first objective."""
        members = (split for split in cell.measured if split.cuts in self.strict)
        first = cell.objectives[0]
        return tuple(sorted(members, key=lambda split: (split.rank(first), split.cuts)))


def judge(cell: Cell, delta: float = DELTA, seed: int = 0) -> Judgement:
    """Judge the measured splits of a cell; the same cell, delta and seed give the same answer."""
    splits, objectives = cell.measured, cell.objectives
    points = {split.cuts: tuple(map(split.median, objectives)) for split in splits}
    maximise = [not objective.lower for objective in objectives]
    marks = front([*points.values()], maximise)
    model = fit_splits(splits, objectives)
    aims = [Aim(objective.lower, objective.within(delta)) for objective in objectives]
    return Judgement(
        **vars(decide(model, aims, seed)),
        delta=delta,
        strict=frozenset(cuts for cuts, mark in zip(points, marks, strict=True) if mark),
        detectable=_detectable(splits, model),
        hypervolume=hypervolume(points, maximise),
        outliers=_outliers(model),
        unreliable=_unreliable(cell),
    )


def hypervolume(points: Mapping[Cuts, tuple[float, ...]], maximise: Sequence[bool]) -> float | None:
    """Return which share of the possible gains the strict front of these points covers.

    The reference point is the worst of the points where less is better (latency) and zero where
    more is (throughput), and the unit the box from there to the best of all: 1 means that one
    split is best at all, and less that the front is a trade. Only fronts of the same splits can
    be compared. None where there is no box: fewer than two different latencies.
    """
    if not points:
        return None
    known = np.array([points[cuts] for cuts in sorted(points)])
    worst = np.where(maximise, 0.0, known.max(axis=0))
    box = np.abs(np.where(maximise, known.max(axis=0), known.min(axis=0)) - worst)
    if not box.all():
        return None
    return float(moocore.hypervolume(known, ref=worst, maximise=[*maximise]) / box.prod())


def _unreliable(cell: Cell) -> frozenset[Cuts]:
    """Return the splits of which too many attempts failed or are invalid."""
    return frozenset(
        split.cuts for split in cell.splits if split.invalid > INVALID_SHARE * split.attempts
    )


def _detectable(splits: tuple[Split, ...], model: Fit | None) -> tuple[float, ...]:
    """Return the differences that a t-test at 5 % finds in four of five cells like this one."""
    if model is None or not model.degrees:
        return ()
    reach = float(sum(stdtrit(model.degrees, [1 - _LEVEL / 2, _POWER])))
    runs = median(split.runs for split in splits)
    return tuple(expm1(reach * deviation * sqrt(2 / runs)) for deviation in model.deviation)


def _outliers(model: Fit | None) -> tuple[tuple[Cuts, int, float], ...]:
    """Return the runs far from split and round: of two runs of a split both, as either may be."""
    if model is None or not model.degrees:
        return ()
    z = model.residuals / model.deviation
    z = z[np.arange(len(z)), np.abs(z).argmax(axis=1)]
    return tuple(
        (model.splits[model.of_split[run]], model.rounds[model.of_round[run]], float(z[run]))
        for run in np.flatnonzero(np.abs(z) > OUTLYING)
    )


def fit_splits(splits: Iterable[Split], objectives: Sequence[Objective]) -> Fit | None:
    """Fit the logarithms of the objectives of splits; None where none has a run."""
    runs = {
        split.cuts: [
            Run(int(number), tuple(map(log, logs)))
            for number, *logs in zip(
                split.values["repeat"], *(split.values[o.figure] for o in objectives), strict=True
            )
        ]
        for split in splits
        if split.values
    }
    return fit(runs) if runs else None
