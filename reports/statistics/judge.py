"""Verdicts on a cell's splits, beside the paper's strict front of medians."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import expm1, log, sqrt
from statistics import median

import moocore
import numpy as np
from scipy.special import stdtrit

from paretopipe_runtime.contract.accuracy import ROUNDED
from paretopipe_runtime.judging.membership import Aim, Decision, Exact, decide
from paretopipe_runtime.judging.model import Cuts, Fit, Run, fit
from reports.data.cells import Cell, Split
from reports.objectives import DELTA, Objective

OUTLYING = 5.0
INVALID_SHARE = 0.2
_POWER, _LEVEL = 0.8, 0.05


@dataclass(frozen=True)
class Judgement(Decision):
    """Verdicts on the splits that a cell has values of, with supporting figures."""

    delta: float
    strict: frozenset[Cuts]  # the front of medians, of the splits that keep the accuracy
    # Of each objective: least ratio - 1 likely to be detected; empty if unknown.
    detectable: tuple[float, ...]
    hypervolume: float | None
    outliers: tuple[tuple[Cuts, int, float], ...]  # split, round, robust z; they count all the same
    unreliable: frozenset[Cuts]  # more than a fifth of the attempts were invalid

    def front(self, cell: Cell) -> tuple[Split, ...]:
        """Return the splits of the strict front, best first by the first objective."""
        return cell.ranked(split for split in cell.known if split.cuts in self.strict)


def exact(cell: Cell, splits: Sequence[Split], objectives: Sequence[Objective]) -> list[Exact]:
    """Return the aims that have no noise, with every split's value.

    What tells more right than the unsplit network does so by chance, and counts as equal to it.
    """
    return [
        Exact(
            Aim(one.lower, expm1(one.within(0)) + ROUNDED),
            {split.cuts: one.level(min(split.median(one), cell.unsplit)) for split in splits},
        )
        for one in objectives
    ]


def front(points: Sequence[Sequence[float]], maximise: Sequence[bool]) -> list[bool]:
    """Mark the strict Pareto front: the non-dominated points; equal points alike.

    >>> front([(1.0, 5.0), (2.0, 9.0), (2.0, 8.0)], maximise=[False, True])
    [True, True, False]
    """
    if not points:
        return []
    if any(len(point) != len(maximise) for point in points):
        raise ValueError(f"front() needs points of {len(maximise)} numbers")
    known = np.array(points, float)
    if not np.isfinite(known).all():
        raise ValueError("front() needs finite numbers")
    keep = moocore.is_nondominated(known, maximise=[*maximise], keep_weakly=True)
    return [bool(kept) for kept in keep]


def judge(cell: Cell, delta: float = DELTA, seed: int = 0) -> Judgement:
    """Judge the splits of a cell, deterministically."""
    splits, objectives = cell.known, cell.objectives
    points = {split.cuts: tuple(map(split.median, objectives)) for split in cell.accurate}
    maximise = [not objective.lower for objective in objectives]
    marks = front([*points.values()], maximise)
    # Runs that were chosen by what earlier ones showed are no sample: what is believed judges.
    model = None if cell.standing else fit_splits(splits, objectives)
    aims = [Aim(objective.lower, objective.within(delta)) for objective in objectives]
    return Judgement(
        **vars(
            cell.standing.decision
            if cell.standing
            else decide(model, aims, seed, exact(cell, splits, cell.exact))
        ),
        delta=delta,
        strict=frozenset(cuts for cuts, mark in zip(points, marks, strict=True) if mark),
        detectable=_detectable(splits, model),
        hypervolume=hypervolume(points, maximise),
        outliers=_outliers(model),
        unreliable=_unreliable(cell),
    )


def hypervolume(points: Mapping[Cuts, tuple[float, ...]], maximise: Sequence[bool]) -> float | None:
    """Return the share of possible gains that the strict front covers.

    The box spans from the worst (less is better) or zero (more is better) to the best: 1 if one
    split is best at all. Comparable between fronts of the same splits only; None without a box.
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
    return frozenset(
        split.cuts for split in cell.splits if split.invalid > INVALID_SHARE * split.attempts
    )


def _detectable(splits: tuple[Split, ...], model: Fit | None) -> tuple[float, ...]:
    """Return the differences that a 5 % t-test detects with 80 % power."""
    if model is None or not model.degrees:
        return ()
    reach = float(sum(stdtrit(model.degrees, [1 - _LEVEL / 2, _POWER])))
    runs = median(split.runs for split in splits)
    return tuple(expm1(reach * deviation * sqrt(2 / runs)) for deviation in model.deviation)


def _outliers(model: Fit | None) -> tuple[tuple[Cuts, int, float], ...]:
    """Return the runs far from split and round; if a split has two, both, as either may be it."""
    if model is None or not model.degrees:
        return ()
    z = model.residuals / model.deviation
    z = z[np.arange(len(z)), np.abs(z).argmax(axis=1)]
    return tuple(
        (model.splits[model.of_split[run]], model.rounds[model.of_round[run]], float(z[run]))
        for run in np.flatnonzero(np.abs(z) > OUTLYING)
    )


def fit_splits(splits: Iterable[Split], objectives: Sequence[Objective]) -> Fit | None:
    """Fit the log objectives of splits; None without runs."""
    runs = runs_of(splits, objectives)
    return fit(runs) if runs else None


def runs_of(splits: Iterable[Split], objectives: Sequence[Objective]) -> dict[Cuts, list[Run]]:
    """Return the runs of those splits that have any."""
    return {
        split.cuts: [
            Run(int(number), tuple(map(log, logs)))
            for number, *logs in zip(
                split.values["repeat"], *(split.values[o.figure] for o in objectives), strict=True
            )
        ]
        for split in splits
        if split.values
    }
