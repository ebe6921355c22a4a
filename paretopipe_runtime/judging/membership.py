"""Probability that a split is on the Pareto front, differences up to delta ignored.

Practical dominance, not transitive: better by more than delta (a ratio beyond 1 + delta) in one
objective, not worse by more than delta in any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from paretopipe_runtime.judging.model import Cuts, Fit, Floats

Verdict = Literal["on", "off", "undecided"]

DRAWS = 4000
ON_FROM, OFF_TO = 0.9, 0.1


class Aim(NamedTuple):
    """Direction and least relevant difference of an objective."""

    lower: bool
    delta: float


@dataclass(frozen=True)
class Membership:
    """Shares of the draws."""

    on: Floats  # [i]: nothing dominates i
    dominated: Floats  # [i, j]: j dominates i


@dataclass(frozen=True)
class Decision:
    reason: str  # for deciding nothing; else empty
    membership: Mapping[Cuts, float]  # probability to be on the front; empty if unknown
    verdict: Mapping[Cuts, Verdict]
    dominator: Mapping[Cuts, Cuts]  # of every split off the front: its most frequent one
    rival: Mapping[Cuts, Cuts]  # of every undecided split: its most frequent dominator


def decide(model: Fit | None, aims: Sequence[Aim], seed: int = 0) -> Decision:
    """Place each split on the front, off it, or undecided."""
    if model is None:
        return Decision("no split was measured", {}, {}, {}, {})
    reason = unspread(model)
    sure: dict[Cuts, float] = {}
    strongest: dict[Cuts, Cuts] = {}
    if len(model.splits) == 1:
        sure = {model.splits[0]: 1.0}
    elif not reason:
        found = membership(model, aims, seed, DRAWS)
        sure = {cuts: float(on) for cuts, on in zip(model.splits, found.on, strict=True)}
        strongest = {
            cuts: model.splits[int(row.argmax())]
            for cuts, row in zip(model.splits, found.dominated, strict=True)
            if row.any()
        }
    verdict: dict[Cuts, Verdict] = {cuts: _verdict(sure.get(cuts)) for cuts in model.splits}

    def who(wanted: Verdict) -> dict[Cuts, Cuts]:
        return {c: strongest[c] for c, said in verdict.items() if said == wanted and c in strongest}

    return Decision(reason, sure, verdict, who("off"), who("undecided"))


def unspread(model: Fit) -> str:
    """Return why the runs have no known spread; empty where they have one."""
    if len(model.splits) == 1 or model.degrees:
        return ""
    if len(model.of_split) == len(model.splits):
        return "one run of each split: how much runs differ is not known"
    return "no two splits share two rounds: how much runs differ is not known"


def _verdict(sure: float | None) -> Verdict:
    if sure is None or OFF_TO < sure < ON_FROM:
        return "undecided"
    return "on" if sure >= ON_FROM else "off"


def errors(model: Fit, seed: int, draws: int) -> Floats:
    """Draw what the effects may be off by: [variable, split, draw], logarithms.

    Correlated as measured; Student-t with the model's degrees of freedom, as the residuals' size
    is estimated too.

    Raises
    ------
    ValueError
        Without a degree of freedom.
    """
    if model.degrees < 1:
        raise ValueError("errors() needs a model with a degree of freedom")
    count, variables = model.effects.shape
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((variables, count, draws))
    swell = np.sqrt(model.degrees / rng.chisquare(model.degrees, draws))
    across = np.linalg.cholesky(model.doubt)
    between = np.linalg.cholesky(model.covariance)
    return np.asarray(np.einsum("vu,ukd->vkd", between, across @ noise) * swell)


def membership(model: Fit, aims: Sequence[Aim], seed: int, draws: int) -> Membership:
    """Draw all splits' effects jointly; raise as `errors` does."""
    count = len(model.splits)
    # Single precision suffices for margins of percents, and is twice as fast.
    lost = (errors(model, seed, draws) + model.effects.T[:, :, None]).astype(np.float32)
    lost[[not aim.lower for aim in aims]] *= -1  # the less the better
    margins = np.log1p([aim.delta for aim in aims]).astype(np.float32)
    on, dominated = np.empty(count), np.empty((count, count))
    for i in range(count):
        # One split against all, without a table of differences.
        better, as_good = np.zeros((count, draws), bool), np.ones((count, draws), bool)
        for values, margin in zip(lost, margins, strict=True):
            better |= values < values[i] - margin
            as_good &= values <= values[i] + margin
        beaten = better & as_good
        on[i] = 1 - np.count_nonzero(beaten.any(axis=0)) / draws
        dominated[i] = np.count_nonzero(beaten, axis=1) / draws
    return Membership(on, dominated)
