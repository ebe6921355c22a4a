"""Ratios between two settings of the same splits, with 95 % confidence intervals.

Each side has its own round model; rounds are not paired, so their differences make the level of a
whole side uncertain. With b rounds and k splits a split's mean has the variance

    residual variance / runs * (1 - 1/k)  +  variance of the round effects / b,

with the residual's and b - 1 degrees of freedom, combined by Welch and Satterthwaite. "equal": the
interval is within the margin delta; "lower", "higher": beyond it; else "undecided".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log, log1p, sqrt
from typing import Literal

from scipy.special import stdtrit

from paretopipe_runtime.contract.splits import Cuts
from paretopipe_runtime.judging.model import Fit, Run, fit
from reports.objectives import DELTA

# Round number and positive value of each run of a split.
Quantity = Sequence[tuple[int, float]]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """A split under the second setting over the same split under the first."""

    ratio: float
    low: float | None  # of the 95 % interval; None if the spread is unknown
    high: float | None
    verdict: Literal["equal", "lower", "higher", "undecided"]


def ratios(
    a: Mapping[Cuts, Quantity], b: Mapping[Cuts, Quantity], delta: float = DELTA
) -> dict[Cuts, Difference]:
    """Return b over a for every split that both have runs of."""
    common = sorted(cuts for cuts in a.keys() & b.keys() if a[cuts] and b[cuts])
    if not common:
        return {}
    one, other = _fit(a), _fit(b)
    return {cuts: _difference(_level(one, cuts), _level(other, cuts), delta) for cuts in common}


@dataclass(frozen=True)
class _Level:
    """A split's mean logarithm, and its variance's terms with degrees of freedom."""

    mean: float
    parts: tuple[tuple[float, int], ...]  # empty if unknown


def _fit(quantities: Mapping[Cuts, Quantity]) -> Fit:
    return fit(
        {
            cuts: [Run(number, (log(value),)) for number, value in runs]
            for cuts, runs in quantities.items()
        }
    )


def _level(model: Fit, cuts: Cuts) -> _Level:
    place = model.splits.index(cuts)
    mean = float(model.effects[place, 0])
    rounds, splits = len(model.rounds), len(model.splits)
    # A single split has no residual: its runs differ by round.
    if rounds < 2 or (splits > 1 and not model.degrees):
        return _Level(mean, ())
    shifts = float(model.drifts.var(ddof=1)) / rounds
    noise = float(model.covariance[0, 0] / model.runs[place]) * (1 - 1 / splits)
    return _Level(mean, ((shifts, rounds - 1), (noise, model.degrees)))


def _difference(one: _Level, other: _Level, delta: float) -> Difference:
    shift = other.mean - one.mean
    if not (one.parts and other.parts):
        return Difference(exp(shift), None, None, "undecided")
    parts = [(part, degrees) for part, degrees in one.parts + other.parts if part > 0]
    variance = sum(part for part, _ in parts)
    degrees = variance**2 / sum(part**2 / own for part, own in parts) if parts else 1.0
    reach = float(stdtrit(degrees, (1 + CONFIDENCE) / 2)) * sqrt(variance)
    low, high, margin = shift - reach, shift + reach, log1p(delta)
    verdict: Literal["equal", "lower", "higher", "undecided"] = "undecided"
    if -margin <= low and high <= margin:
        verdict = "equal"
    elif high < -margin:
        verdict = "lower"
    elif low > margin:
        verdict = "higher"
    return Difference(exp(shift), exp(low), exp(high), verdict)
