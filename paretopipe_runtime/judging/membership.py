"""How sure it is that a split is on the front, where differences below delta do not matter.

Practical dominance: j dominates i if it is better by more than delta in one objective and not
worse by more than delta in any other. Better by more than delta means that the ratio of the two is
beyond 1 + delta. The relation is not transitive: of every split that is off the front the one that
dominates it most often is told.
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
    """Of one variable of a model: whether less is better, and by what it has to differ."""

    lower: bool
    delta: float


@dataclass(frozen=True)
class Membership:
    """Over many draws from the model: how often nothing dominates a split, and who dominates."""

    on: Floats  # of each split
    dominated: Floats  # [i, j]: how often j dominates i


@dataclass(frozen=True)
class Decision:
    """What the runs of one cell allow to say about its splits."""

    reason: str  # why nothing could be decided; empty where it could
    membership: Mapping[Cuts, float]  # how sure it is that a split is on; empty: nobody can know
    verdict: Mapping[Cuts, Verdict]
    dominator: Mapping[Cuts, Cuts]  # of every split that is off: who dominates it most often
    rival: Mapping[Cuts, Cuts]  # of every undecided split: who decides about it


def decide(model: Fit | None, aims: Sequence[Aim], seed: int = 0) -> Decision:
    """Say of every split of a model whether it is on the front, off it, or undecided."""
    if model is None:
        return Decision("no split was measured", {}, {}, {}, {})
    reason = _reason(model)
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


def _reason(model: Fit) -> str:
    if len(model.splits) == 1 or model.degrees:
        return ""
    if len(model.of_split) == len(model.splits):
        return "one run of each split: how much runs differ is not known"
    return "no two splits share two rounds: how much runs differ is not known"


def _verdict(sure: float | None) -> Verdict:
    if sure is None or OFF_TO < sure < ON_FROM:
        return "undecided"
    return "on" if sure >= ON_FROM else "off"


def membership(model: Fit, aims: Sequence[Aim], seed: int, draws: int) -> Membership:
    """Draw the effects of all splits together, the variables correlated as measured.

    The draws are Student-t with the model's degrees of freedom: how large the residuals are is
    estimated too. A model without a degree of freedom says nothing and is refused.
    """
    if model.degrees < 1:
        raise ValueError("membership() needs a model with a degree of freedom")
    count, variables = model.effects.shape
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((variables, count, draws))
    swell = np.sqrt(model.degrees / rng.chisquare(model.degrees, draws))
    across = np.linalg.cholesky(model.doubt)
    between = np.linalg.cholesky(model.covariance)
    # Half the digits are plenty for comparisons with a margin of percents, and twice as quick.
    moved = np.einsum("vu,ukd->vkd", between, across @ noise) * swell
    lost = (moved + model.effects.T[:, :, None]).astype(np.float32)  # the less the better
    lost[[not aim.lower for aim in aims]] *= -1
    margins = np.log1p([aim.delta for aim in aims]).astype(np.float32)
    on, dominated = np.empty(count), np.empty((count, count))
    for i in range(count):
        # One split against all: comparing the shifted values saves a table of differences.
        better, as_good = np.zeros((count, draws), bool), np.ones((count, draws), bool)
        for values, margin in zip(lost, margins, strict=True):
            better |= values < values[i] - margin
            as_good &= values <= values[i] + margin
        beaten = better & as_good
        on[i] = 1 - np.count_nonzero(beaten.any(axis=0)) / draws
        dominated[i] = np.count_nonzero(beaten, axis=1) / draws
    return Membership(on, dominated)
