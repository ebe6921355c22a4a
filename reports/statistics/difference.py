"""The same splits measured under two settings: their ratio, how sure it is, and what it means.

Each side gets a round model of its own, with its spread pooled over all its splits. Rounds of two
cells were measured at different times, so that the same number does not make them a pair: what
differs between the rounds of a side makes the level of that side uncertain, all its splits alike.
With b rounds and k splits a split's mean has the variance

    residual variance / runs * (1 - 1/k)  +  variance of the round effects / b,

the two terms with the residual's and with b - 1 degrees of freedom; both sides together have
those of Welch and Satterthwaite. The verdicts are about differences that matter: "equal" where the
whole 95 % interval is within the margin delta, "lower" or "higher" where all of it is beyond, and
otherwise "undecided". So a shift of the whole side below delta between two measurements of the
same thing is not taken for a difference.
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

# Of the runs of a split: the number of the round, and what was measured in it (positive).
Quantity = Sequence[tuple[int, float]]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Difference:
    """A split under the second setting over the same split under the first."""

    ratio: float
    low: float | None  # the 95 % interval; None where the spread of the runs is not known
    high: float | None
    verdict: Literal["equal", "lower", "higher", "undecided"]


def ratios(
    a: Mapping[Cuts, Quantity], b: Mapping[Cuts, Quantity], delta: float = DELTA
) -> dict[Cuts, Difference]:
    """Return b over a of any positive quantity, for every split that both have runs of."""
    common = sorted(cuts for cuts in a.keys() & b.keys() if a[cuts] and b[cuts])
    if not common:
        return {}
    one, other = _fit(a), _fit(b)
    return {cuts: _difference(_level(one, cuts), _level(other, cuts), delta) for cuts in common}


@dataclass(frozen=True)
class _Level:
    """A split's mean logarithm, with the parts of its variance and their degrees of freedom."""

    mean: float
    parts: tuple[tuple[float, int], ...]  # empty: not known


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
    # A split alone has no residual: all that differs between its runs differs between rounds.
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
