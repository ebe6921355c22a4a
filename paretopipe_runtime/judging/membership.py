"""Probability that a split is on the Pareto front, differences up to delta ignored.

Practical dominance, not transitive: better by more than delta (a ratio beyond 1 + delta) in one
objective, not worse by more than delta in any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

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


class Exact(NamedTuple):
    """A further aim, and each split's value on the scale of the logarithms: it has no error."""

    aim: Aim
    values: Mapping[Cuts, float]


def decide(
    model: Fit | None, aims: Sequence[Aim], seed: int = 0, exact: Sequence[Exact] = ()
) -> Decision:
    """Place each split on the front, off it, or undecided."""
    if model is None:
        return Decision("no split was measured", {}, {}, {}, {})
    reason = unspread(model)
    if len(model.splits) == 1:
        return placed(model.splits, Membership(np.ones(1), np.zeros((1, 1))))
    if reason:
        return Decision(reason, {}, dict.fromkeys(model.splits, "undecided"), {}, {})
    return placed(model.splits, membership(model, aims, seed, DRAWS, exact))


def placed(
    splits: Sequence[Cuts], found: Membership, verdicts: Sequence[Verdict] | None = None
) -> Decision:
    """Return the decision on splits; without `verdicts`, what the probabilities alone say."""
    sure = dict(zip(splits, map(float, found.on), strict=True))
    said = dict(zip(splits, verdicts or map(verdict_at, sure.values()), strict=True))
    strongest = {
        cuts: splits[int(row.argmax())]
        for cuts, row in zip(splits, found.dominated, strict=True)
        if row.any()
    }

    def who(wanted: Verdict) -> dict[Cuts, Cuts]:
        return {
            c: strongest[c] for c, verdict in said.items() if verdict == wanted and c in strongest
        }

    return Decision("", sure, said, who("off"), who("undecided"))


def unspread(model: Fit) -> str:
    """Return why the runs have no known spread; empty where they have one."""
    if len(model.splits) == 1 or model.degrees:
        return ""
    if len(model.of_split) == len(model.splits):
        return "one run of each split: how much runs differ is not known"
    return "no two splits share two rounds: how much runs differ is not known"


def verdict_at(sure: float) -> Verdict:
    """Return the verdict at a probability to be on the front."""
    if OFF_TO < sure < ON_FROM:
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


def membership(
    model: Fit, aims: Sequence[Aim], seed: int, draws: int, exact: Sequence[Exact] = ()
) -> Membership:
    """Draw all splits' effects jointly; raise as `errors` does."""
    drawn = errors(model, seed, draws) + model.effects.T[:, :, None]
    return shares(*beside(drawn, aims, model.splits, exact))[0]


def beside(
    drawn: Floats, aims: Sequence[Aim], splits: Sequence[Cuts], exact: Sequence[Exact]
) -> tuple[Floats, list[Aim]]:
    """Add to effects drawn, and to their aims, what has no error: the same in each draw."""
    if not exact:
        return drawn, [*aims]
    rows = [[one.values[cuts] for cuts in splits] for one in exact]
    same = np.broadcast_to(np.array(rows)[:, :, None], (len(rows), *drawn.shape[1:]))
    return np.concatenate([drawn, same]), [*aims, *(one.aim for one in exact)]


def shares(drawn: Floats, aims: Sequence[Aim]) -> tuple[Membership, NDArray[np.bool_]]:
    """Return the shares of effects drawn, [variable, split, draw], and the front of each draw.

    The latter is [split, draw]: nothing dominates the split.
    """
    # Single precision suffices for margins of percents, and is twice as fast.
    lost = drawn.astype(np.float32)
    lost[[not aim.lower for aim in aims]] *= -1  # the less the better
    margins = np.log1p([aim.delta for aim in aims]).astype(np.float32)
    count, draws = lost.shape[1:]
    on, dominated = np.empty((count, draws), bool), np.empty((count, count))
    for i in range(count):
        # One split against all, without a table of differences.
        better, as_good = np.zeros((count, draws), bool), np.ones((count, draws), bool)
        for values, margin in zip(lost, margins, strict=True):
            better |= values < values[i] - margin
            as_good &= values <= values[i] + margin
        beaten = better & as_good
        on[i] = ~beaten.any(axis=0)
        dominated[i] = np.count_nonzero(beaten, axis=1) / draws
    return Membership(on.mean(axis=1), dominated), on
