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
from typing import Literal

import moocore
import numpy as np
from scipy.special import stdtrit

from paretopipe_runtime.judging.membership import Aim, membership
from paretopipe_runtime.judging.model import Fit, Run, fit
from reports.data.cells import Cell, Split
from reports.objectives import Objective
from reports.statistics.pareto import front

Cuts = tuple[int, ...]
Verdict = Literal["on", "off", "undecided"]

DRAWS = 4000
ON_FROM, OFF_TO = 0.9, 0.1
OUTLYING = 5.0
INVALID_SHARE = 0.2
_POWER, _LEVEL = 0.8, 0.05


@dataclass(frozen=True)
class Judgement:
    """The verdicts on a cell's measured splits, with what they stand on."""

    delta: float
    reason: str  # why nothing could be decided; empty where it could
    strict: frozenset[Cuts]  # the front of medians
    membership: Mapping[Cuts, float]  # how sure it is that a split is on; empty: nobody can know
    verdict: Mapping[Cuts, Verdict]
    dominator: Mapping[Cuts, Cuts]  # of every split that is off: who dominates it most often
    rival: Mapping[Cuts, Cuts]  # of every undecided split: who decides about it
    # Of each objective the smallest ratio - 1 between two splits likely to be seen; none: unknown.
    detectable: tuple[float, ...]
    hypervolume: float | None
    outliers: tuple[tuple[Cuts, int, float], ...]  # split, block, robust z; flagged and counted
    unreliable: frozenset[Cuts]  # more than a fifth of the attempts were invalid

    def front(self, cell: Cell) -> tuple[Split, ...]:
        """Return the splits on the strict front of medians, by the first objective."""
        members = (split for split in cell.measured if split.cuts in self.strict)
        first = cell.objectives[0]
        return tuple(sorted(members, key=lambda split: (split.rank(first), split.cuts)))


def judge(cell: Cell, delta: float = 0.02, seed: int = 0) -> Judgement:
    """Judge the measured splits of a cell; the same cell, delta and seed give the same answer."""
    splits, objectives = cell.measured, cell.objectives
    points = {split.cuts: tuple(map(split.median, objectives)) for split in splits}
    maximise = [not objective.lower for objective in objectives]
    marks = front([*points.values()], maximise)
    strict = frozenset(cuts for cuts, mark in zip(points, marks, strict=True) if mark)
    model = fit_splits(splits, objectives)
    reason = _reason(splits, model)
    sure: dict[Cuts, float] = {}
    strongest: dict[Cuts, Cuts] = {}
    if len(splits) == 1:
        sure = {splits[0].cuts: 1.0}
    elif model and not reason:
        aims = [Aim(objective.lower, objective.within(delta)) for objective in objectives]
        found = membership(model, aims, seed, DRAWS)
        sure = {cuts: float(on) for cuts, on in zip(model.splits, found.on, strict=True)}
        strongest = {
            cuts: model.splits[int(row.argmax())]
            for cuts, row in zip(model.splits, found.dominated, strict=True)
            if row.any()
        }
    verdict: dict[Cuts, Verdict] = {cuts: _verdict(sure.get(cuts)) for cuts in sorted(points)}
    return Judgement(
        delta=delta,
        reason=reason,
        strict=strict,
        membership=sure,
        verdict=verdict,
        dominator={cuts: strongest[cuts] for cuts in verdict if verdict[cuts] == "off"},
        rival={
            cuts: strongest[cuts]
            for cuts in verdict
            if verdict[cuts] == "undecided" and cuts in strongest
        },
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


def _reason(splits: tuple[Split, ...], model: Fit | None) -> str:
    if model is None:
        return "no split was measured"
    if len(splits) == 1 or model.degrees:
        return ""
    if all(split.runs == 1 for split in splits):
        return "one run of each split: how much runs differ is not known"
    return "no two splits share two blocks: how much runs differ is not known"


def _verdict(sure: float | None) -> Verdict:
    if sure is None or OFF_TO < sure < ON_FROM:
        return "undecided"
    return "on" if sure >= ON_FROM else "off"


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
    """Return the runs far from split and block: of two runs of a split both, as either may be."""
    if model is None or not model.degrees:
        return ()
    z = model.residuals / model.deviation
    z = z[np.arange(len(z)), np.abs(z).argmax(axis=1)]
    return tuple(
        (model.splits[model.of_split[run]], model.blocks[model.of_block[run]], float(z[run]))
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
