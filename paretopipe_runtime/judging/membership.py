"""How sure it is that a split is on the front, where differences below delta do not matter.

Practical dominance: j dominates i if it is better by more than delta in one objective and not
worse by more than delta in any other. Better by more than delta means that the ratio of the two is
beyond 1 + delta. The relation is not transitive: of every split that is off the front the one that
dominates it most often is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from paretopipe_runtime.judging.model import Fit, Floats


class Aim(NamedTuple):
    """Of one variable of a model: whether less is better, and by what it has to differ."""

    lower: bool
    delta: float


@dataclass(frozen=True)
class Membership:
    """Over many draws from the model: how often nothing dominates a split, and who dominates."""

    on: Floats  # of each split
    dominated: Floats  # [i, j]: how often j dominates i


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
