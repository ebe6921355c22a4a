"""Pairwise comparison of splits and end points within one cell.

Round effects cancel; the interval is Student's with the round model's degrees of freedom.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log1p, sqrt
from typing import Literal

from scipy.special import stdtrit

from paretopipe_runtime.contract.splits import Cuts
from paretopipe_runtime.judging.model import Fit
from reports.data.cells import Cell
from reports.objectives import Objective
from reports.statistics.difference import CONFIDENCE
from reports.statistics.judge import fit_splits

Outcome = Literal["better", "worse", "equal", "undecided"]


@dataclass(frozen=True)
class Contest:
    """Every measured split and end point of a cell."""

    model: Fit | None
    objectives: tuple[Objective, ...]
    delta: float

    @classmethod
    def of(cls, cell: Cell, delta: float) -> Contest:
        splits = (*cell.measured, *cell.end_points)
        return cls(fit_splits(splits, cell.objectives), cell.objectives, delta)

    def outcome(self, one: Cuts, other: Cuts, objective: Objective) -> Outcome:
        """Compare two splits at 95 % confidence with the margin delta.

        ``equal``: the interval of their ratio is within delta. ``undecided``: not certain.
        """
        if self.model is None or self.model.degrees < 1:
            return "undecided"
        i, j = self.model.splits.index(one), self.model.splits.index(other)
        column = self.objectives.index(objective)
        gain = float(self.model.effects[j, column] - self.model.effects[i, column])
        gain = gain if objective.lower else -gain
        doubt = self.model.doubt
        variance = float(doubt[i, i] + doubt[j, j] - 2 * doubt[i, j])
        variance *= float(self.model.covariance[column, column])
        reach = float(stdtrit(self.model.degrees, (1 + CONFIDENCE) / 2)) * sqrt(variance)
        margin = log1p(objective.within(self.delta))
        if gain - reach > margin:
            return "better"
        if gain + reach < -margin:
            return "worse"
        return "equal" if gain - reach >= -margin and gain + reach <= margin else "undecided"
