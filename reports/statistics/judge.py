"""What the runs of one cell allow to say about its splits: on the front, off it, or undecided.

Beside it the strict front of medians, "as in the paper", whose members are decided by differences
of any size, and what the numbers themselves are worth: the smallest difference they can tell, runs
far from all others, splits with too many invalid attempts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import expm1, log, sqrt
from statistics import median

import moocore
import numpy as np
from scipy.special import stdtrit

from paretopipe_runtime.judging.membership import Decision, decide
from paretopipe_runtime.judging.model import Cuts, Fit, Run, fit
from reports.data.cells import Cell, Split
from reports.statistics.pareto import front

OUTLYING = 5.0
INVALID_SHARE = 0.2
_POWER, _LEVEL = 0.8, 0.05


@dataclass(frozen=True)
class Judgement(Decision):
    """The verdicts on a cell's measured splits, with what they stand on."""

    delta: float
    strict: frozenset[Cuts]  # the front of medians
    detectable_latency: float | None  # the smallest ratio - 1 between two splits likely to be seen
    detectable_throughput: float | None
    hypervolume: float | None
    outliers: tuple[tuple[Cuts, int, float], ...]  # split, block, robust z; flagged and counted
    unreliable: frozenset[Cuts]  # more than a fifth of the attempts were invalid

    def front(self, cell: Cell) -> tuple[Split, ...]:
        """Return the splits on the strict front of medians, by latency."""
        members = (split for split in cell.measured if split.cuts in self.strict)
        return tuple(sorted(members, key=lambda split: (split.latency, split.cuts)))


def judge(cell: Cell, delta: float = 0.02, seed: int = 0) -> Judgement:
    """Judge the measured splits of a cell; the same cell, delta and seed give the same answer."""
    splits = cell.measured
    points = {split.cuts: (split.latency, split.throughput) for split in splits}
    marks = front([point[0] for point in points.values()], [point[1] for point in points.values()])
    model = fit_splits(splits)
    latency, throughput = _detectable(splits, model)
    return Judgement(
        **vars(decide(model, delta, seed)),
        delta=delta,
        strict=frozenset(cuts for cuts, mark in zip(points, marks, strict=True) if mark),
        detectable_latency=latency,
        detectable_throughput=throughput,
        hypervolume=hypervolume(points),
        outliers=_outliers(model),
        unreliable=_unreliable(cell),
    )


def hypervolume(points: Mapping[Cuts, tuple[float, float]]) -> float | None:
    """Return which share of the possible gains the strict front of these points covers.

    The reference point is the worst latency of the points and no throughput, and the unit the
    rectangle from there to the best of both: 1 means that one split is best at both, and less that
    the front is a trade. Only fronts of the same splits can be compared. None where there is
    no rectangle: fewer than two different latencies.
    """
    if len({latency for latency, _ in points.values()}) < 2:
        return None
    known = np.array([points[cuts] for cuts in sorted(points)])
    worst, best, most = known[:, 0].max(), known[:, 0].min(), known[:, 1].max()
    covered = moocore.hypervolume(known, ref=np.array([worst, 0.0]), maximise=[False, True])
    return float(covered / ((worst - best) * most))


def _unreliable(cell: Cell) -> frozenset[Cuts]:
    """Return the splits of which too many attempts failed or are invalid."""
    return frozenset(
        split.cuts for split in cell.splits if split.invalid > INVALID_SHARE * split.attempts
    )


def _detectable(
    splits: tuple[Split, ...], model: Fit | None
) -> tuple[float, float] | tuple[None, None]:
    """Return the differences that a t-test at 5 % finds in four of five cells like this one."""
    if model is None or not model.degrees:
        return None, None
    reach = float(sum(stdtrit(model.degrees, [1 - _LEVEL / 2, _POWER])))
    runs = median(split.runs for split in splits)
    latency, throughput = (
        expm1(reach * deviation * sqrt(2 / runs)) for deviation in model.deviation
    )
    return latency, throughput


def _outliers(model: Fit | None) -> tuple[tuple[Cuts, int, float], ...]:
    """Return the runs far from split and block: of two runs of a split both, as either may be."""
    if model is None or not model.degrees:
        return ()
    z = model.residuals / model.deviation
    z = z[np.arange(len(z)), np.abs(z).argmax(axis=1)]
    return tuple(
        (model.splits[model.of_split[run]], model.blocks[model.of_block[run]], float(z[run]))
        for run in np.flatnonzero(np.abs(z) > OUTLYING)
    )


def fit_splits(splits: Iterable[Split]) -> Fit | None:
    """Fit the logarithms of the latency and throughput of splits; None where none has a run."""
    runs = {
        split.cuts: [
            Run(value.block, (log(value.latency_s), log(value.throughput_img_s)))
            for value in split.values
        ]
        for split in splits
        if split.values
    }
    return fit(runs) if runs else None
