"""Two sweeps of the same cells: what changed beyond noise.

The intervals are joint: with N comparisons each has the confidence 1 - 5 % / N (Bonferroni), so
that noise alone calls anything changed in at most one pair of sweeps in twenty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from paretopipe_runtime.contract.splits import Cuts
from reports.data.cells import Cell, Split
from reports.objectives import Objective
from reports.statistics.difference import CONFIDENCE, Difference, quantities, ratios, together

CHANGED, SMALL, SAME, OPEN = VERDICTS = (
    *("changed", "too little to matter", "no change beyond noise", "cannot tell"),
)
# Where noise could hide a change as large as this, nothing is said.
LARGE = 0.1


@dataclass(frozen=True)
class Changes:
    """New over old, in one objective."""

    together: Difference  # of all the splits
    each: Mapping[Cuts, Difference]

    delta: float  # ratio - 1 that does not matter

    @property
    def verdicts(self) -> list[str]:
        every = (self.together, *self.each.values())
        return [verdict(difference, self.delta) for difference in every]

    @property
    def visible(self) -> float | None:
        """Return the ratio - 1 from which a change of a typical split is seen; None if unknown."""
        reach = [
            (found.high / found.low) ** 0.5
            for found in self.each.values()
            if found.low and found.high
        ]
        return max(median(reach) - 1, self.delta) if reach else None


@dataclass(frozen=True)
class Pair:
    """A cell in two sweeps, and its splits that both measured with as many batches."""

    old: Cell
    new: Cell
    splits: Mapping[Cuts, tuple[Split, Split]]  # old and new
    objectives: tuple[Objective, ...]

    @classmethod
    def of(cls, old: Cell, new: Cell) -> Pair:
        known = {split.cuts: split for split in old.measured}
        # Fewer batches fill the pipeline less.
        splits = {
            split.cuts: (known[split.cuts], split)
            for split in new.measured
            if split.cuts in known and known[split.cuts].phases == split.phases
        }
        return cls(old, new, splits, tuple(o for o in new.objectives if o in old.objectives))

    @property
    def size(self) -> int:
        """Return how many comparisons this makes: each split, and all together."""
        return (len(self.splits) + 1) * len(self.objectives) if self.splits else 0

    def changes(self, objective: Objective, delta: float, total: int) -> Changes:
        """Return new over old, with intervals joint over `total` comparisons."""
        old, new = (quantities(cell, objective) for cell in (self.old, self.new))
        margin, confidence = objective.within(delta), 1 - (1 - CONFIDENCE) / total
        found = ratios(old, new, confidence=confidence)
        whole = together(old, new, [*self.splits], confidence)
        return Changes(whole, {cuts: found[cuts] for cuts in self.splits}, margin)


def verdict(found: Difference, delta: float) -> str:
    """Return one of `VERDICTS`.

    Changed: 1 is outside the interval; too little to matter: the ratio is within the margin
    `delta` all the same. Cannot tell: 1 is inside, and so is a change of `LARGE`.
    """
    if found.low is None or found.high is None:
        return OPEN
    if found.low <= 1 <= found.high:
        return SAME if max(1 / found.low, found.high) <= 1 + LARGE else OPEN
    return CHANGED if max(found.ratio, 1 / found.ratio) > 1 + delta else SMALL
