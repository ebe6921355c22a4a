"""What is believed of a cell that measures only what is in doubt.

Runs were chosen by what earlier ones showed: the median of a split that looked good flatters it.
What stands for it, and for splits without a run, is the posterior's: see ``judging/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp

import numpy as np

from paretopipe_runtime.contract.accuracy import lossy
from paretopipe_runtime.judging.doubtful import Standing, standing
from paretopipe_runtime.judging.model import Cuts, Floats, Run
from reports.data.cells import Cell, Split, Spread
from reports.data.plans import candidates
from reports.objectives import Objective
from reports.statistics.difference import CONFIDENCE, Contest, Outcome, verdict_of
from reports.statistics.judge import runs_of

#: Of the draws, the share between the ends that are shown of a value.
SHOWN = 0.9


def believed(cell: Cell, delta: float, cv: float) -> Cell:
    """Return a cell with what is believed of all its candidates, another cell as it is.

    `cv` is what a run is expected to scatter by.
    """
    listed = candidates(cell.plan)
    own = {one.cuts for one in listed}
    splits = tuple(split for split in cell.splits if split.cuts in own)
    required = [one for one in cell.objectives if one.required]
    runs = runs_of(splits, required)
    if not runs:
        return cell
    aside = lossy(cell.accuracies, own, cell.accuracy_margin)
    found = standing(listed, runs, delta, cv, aside=aside)
    ends = np.exp(np.quantile(found.drawn, [0.5, (1 - SHOWN) / 2, (1 + SHOWN) / 2], axis=2))
    places = {cuts: place for place, cuts in enumerate(found.splits)}

    def of(split: Split) -> Split:
        values = ends[:, :, places[split.cuts]].T.tolist()
        spreads = {
            one.figure: Spread(middle, low, high, split.runs)
            for one, (middle, low, high) in zip(required, values, strict=True)
        }
        return replace(split, believed=spreads)

    return replace(cell, standing=found, splits=tuple(map(of, splits)))


@dataclass(frozen=True)
class Believed(Contest):
    """The same between candidates and end points, from what is believed: [variable, draw]."""

    drawn: Mapping[Cuts, Floats]

    @classmethod
    def of(cls, cell: Cell, delta: float) -> Believed:
        found = cell.standing
        if found is None:
            raise ValueError(f"{cell.id} has no standing to compare by")
        known = {cuts: found.drawn[:, place] for place, cuts in enumerate(found.splits)}
        splits, ends = (runs_of(some, cell.objectives) for some in (cell.splits, cell.end_points))
        drawn = {**known, **_ends(found, known, splits, ends)}
        return cls(None, cell.objectives, delta, drawn)

    def knows(self, *splits: Cuts) -> bool:
        return all(cuts in self.drawn for cuts in splits)

    def interval(self, cuts: Cuts, objective: Objective) -> tuple[float, float] | None:
        if not self.knows(cuts):
            return None
        low, high = _reach(self.drawn[cuts][self.objectives.index(objective)])
        return exp(low), exp(high)

    def outcome(self, one: Cuts, other: Cuts, objective: Objective) -> Outcome:
        if not self.knows(one, other):
            return "undecided"
        column = self.objectives.index(objective)
        gain = self.drawn[other][column] - self.drawn[one][column]
        low, high = _reach(gain if objective.lower else -gain)
        return verdict_of(low, high, objective.within(self.delta))


def _reach(values: Floats) -> tuple[float, float]:
    """Return the interval of `CONFIDENCE`; a quantile takes thrice as long, and pairs are many."""
    cut = round(len(values) * (1 - CONFIDENCE) / 2)
    ordered = np.partition(values, (cut, -cut - 1))
    return float(ordered[cut]), float(ordered[-cut - 1])


def _ends(
    found: Standing,
    known: Mapping[Cuts, Floats],
    splits: Mapping[Cuts, Sequence[Run]],
    ends: Mapping[Cuts, Sequence[Run]],
) -> dict[Cuts, Floats]:
    """Draw end points: no prediction, and each round's shift by what its splits show."""
    rng = np.random.default_rng(len(known))
    half = np.linalg.cholesky(found.believed.noise)

    def mean(seen: Sequence[Floats]) -> Floats:
        noise = half @ rng.standard_normal(seen[0].shape)
        return np.asarray(np.mean(seen, axis=0) + noise / np.sqrt(len(seen)))

    beyond: dict[int, list[Floats]] = {}
    for cuts, runs in splits.items():
        for run in runs:
            beyond.setdefault(run.round, []).append(np.array(run.logs)[:, None] - known[cuts])
    shifts = {number: mean(seen) for number, seen in sorted(beyond.items())}
    drawn = {}
    for cuts, runs in ends.items():
        seen = [(run, shifts[run.round]) for run in runs if run.round in shifts]
        if seen:
            drawn[cuts] = mean([np.array(run.logs)[:, None] - shift for run, shift in seen])
    return drawn
