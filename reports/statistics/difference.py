"""Differences with confidence intervals, and the confidence of a range.

`ratios` are between two settings of the same splits. Each side has its own round model; rounds are
not paired, so their differences make the level of a whole side uncertain. With b rounds and k
splits a split's mean has the variance

    residual variance / runs * (1 - 1/k)  +  variance of the round effects / b

(1/m - 1/k for the mean of m splits), with the residual's and b - 1 degrees of freedom, combined by
Welch and Satterthwaite. "equal": the interval is within the margin delta; "lower", "higher": beyond
it; else "undecided".

A `Contest` is between splits and end points of one cell. There round effects cancel; the interval
is Student's with the round model's degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, hypot, log, log1p, sqrt
from typing import Literal

from scipy.special import stdtrit

from paretopipe_runtime.contract.splits import Cuts
from paretopipe_runtime.judging.model import Fit, Run, fit
from reports.data.cells import Cell
from reports.objectives import DELTA, Objective
from reports.statistics.judge import fit_splits

# Round number and positive value of each run of a split.
Quantity = Sequence[tuple[int, float]]

CONFIDENCE = 0.95

Verdict = Literal["equal", "lower", "higher", "undecided"]
Outcome = Literal["better", "worse", "equal", "undecided"]


@dataclass(frozen=True)
class Difference:
    """A split under the second setting over the same split under the first."""

    ratio: float
    low: float | None  # of the interval; None if the spread is unknown
    high: float | None
    verdict: Verdict


def ratios(
    a: Mapping[Cuts, Quantity],
    b: Mapping[Cuts, Quantity],
    delta: float = DELTA,
    confidence: float = CONFIDENCE,
) -> dict[Cuts, Difference]:
    """Return b over a for every split that both have runs of."""
    common = sorted(cuts for cuts in a.keys() & b.keys() if a[cuts] and b[cuts])
    if not common:
        return {}
    one, other = _fit(a), _fit(b)
    return {
        cuts: _difference(_level(one, [cuts]), _level(other, [cuts]), delta, confidence)
        for cuts in common
    }


def together(
    a: Mapping[Cuts, Quantity],
    b: Mapping[Cuts, Quantity],
    splits: Sequence[Cuts],
    confidence: float = CONFIDENCE,
) -> Difference:
    """Return b over a for the geometric mean of splits that both have runs of."""
    return _difference(_level(_fit(a), splits), _level(_fit(b), splits), DELTA, confidence)


def quantities(cell: Cell, objective: Objective) -> dict[Cuts, Quantity]:
    """Return the figures of every measured split, each with the number of its round."""
    return {
        split.cuts: [
            (int(number), value)
            for number, value in zip(
                split.values["repeat"], split.values[objective.figure], strict=True
            )
        ]
        for split in cell.measured
    }


@dataclass(frozen=True)
class _Level:
    """A mean logarithm, and its variance's terms with degrees of freedom."""

    mean: float
    parts: tuple[tuple[float, int], ...]  # empty if unknown


def _fit(quantities: Mapping[Cuts, Quantity]) -> Fit:
    return fit(
        {
            cuts: [Run(number, (log(value),)) for number, value in runs]
            for cuts, runs in quantities.items()
        }
    )


def _level(model: Fit, splits: Sequence[Cuts], column: int = 0) -> _Level:
    places = [model.splits.index(cuts) for cuts in splits]
    mean = float(model.effects[places, column].mean())
    rounds, every = len(model.rounds), len(model.splits)
    # A single split has no residual: its runs differ by round.
    if rounds < 2 or (every > 1 and not model.degrees):
        return _Level(mean, ())
    shifts = float(model.drifts[:, column].var(ddof=1)) / rounds
    noise = float((model.covariance[column, column] / model.runs[places]).mean())
    # What all splits have in common is in the round effects already.
    noise *= 1 / len(places) - 1 / every
    return _Level(mean, ((shifts, rounds - 1), (noise, model.degrees)))


def _difference(one: _Level, other: _Level, delta: float, confidence: float) -> Difference:
    shift = other.mean - one.mean
    if not (one.parts and other.parts):
        return Difference(exp(shift), None, None, "undecided")
    parts = [(part, degrees) for part, degrees in one.parts + other.parts if part > 0]
    variance = sum(part for part, _ in parts)
    degrees = variance**2 / sum(part**2 / own for part, own in parts) if parts else 1.0
    reach = float(stdtrit(degrees, (1 + confidence) / 2)) * sqrt(variance)
    low, high = shift - reach, shift + reach
    return Difference(exp(shift), exp(low), exp(high), _verdict(low, high, log1p(delta)))


def _verdict(low: float, high: float, margin: float) -> Verdict:
    if -margin <= low and high <= margin:
        return "equal"
    if high < -margin:
        return "lower"
    return "higher" if low > margin else "undecided"


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

    def knows(self, *splits: Cuts) -> bool:
        return self.model is not None and all(cuts in self.model.splits for cuts in splits)

    def interval(self, cuts: Cuts, objective: Objective) -> tuple[float, float] | None:
        """Return the 95 % interval of a split's typical value; None if the spread is unknown.

        Rounds differ, so it is that of a whole side in `ratios`, against a value known for sure.
        """
        if self.model is None or not self.knows(cuts):
            return None
        level = _level(self.model, [cuts], self.objectives.index(objective))
        found = _difference(_Level(0.0, ((0.0, 1),)), level, 0.0, CONFIDENCE)
        return None if found.low is None or found.high is None else (found.low, found.high)

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
        return verdict_of(gain - reach, gain + reach, objective.within(self.delta))


def beside(one: Contest, cuts: Cuts, other: Contest, rival: Cuts, objective: Objective) -> Outcome:
    """Compare a split with one of another cell, by the margin of the first's contest.

    Their 95 % intervals are of independent values: that of the ratio adds their squares up.
    """
    sides = one.interval(cuts, objective), other.interval(rival, objective)
    if None in sides:
        return "undecided"
    (low, high), (least, most) = (tuple(map(log, side)) for side in sides if side)
    gain = (least + most - low - high) / 2
    reach = hypot(high - low, most - least) / 2
    gain = gain if objective.lower else -gain
    return verdict_of(gain - reach, gain + reach, objective.within(one.delta))


def verdict_of(low: float, high: float, margin: float) -> Outcome:
    """Judge the interval of a gain's logarithm by a margin, a ratio - 1."""
    verdict = _verdict(low, high, log1p(margin))
    if verdict == "higher":
        return "better"
    return "worse" if verdict == "lower" else verdict


def coverage_percent(n: int) -> float:
    """Return the probability, in percent, that the range of n runs includes the true median.

    Whatever the distribution, each run is below it with probability 1/2, so all n are on one side
    with 2 * 2**-n.

    >>> coverage_percent(5), coverage_percent(6)
    (93.75, 96.875)
    """
    if n < 1:
        raise ValueError(f"coverage_percent() needs at least one run, not {n}")
    return 100 * (1 - 2.0 ** (1 - n))
