"""Gain of further runs: how many fewer wrong verdicts, and how much better a pick, they leave.

The expected number of wrong verdicts is the sum of min(p, 1 - p) over all candidates, p the
probability to be on the front. What `LOOK` more runs of a candidate would change is foretold by
reweighting draws of the posterior with results drawn from them, as if all draws were equally
likely before: one run ahead, most gains are zero, and the search stalls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paretopipe_runtime.judging.model import Floats, Places

LOOK = 3
_RESULTS = 48  # foretold of each candidate
# A pick that loses so much, as a ratio - 1, counts as a wrong verdict.
_STAKE = 0.10
_FARTHEST = np.log(3)
Draws32 = NDArray[np.float32]


@dataclass(frozen=True)
class Foresight:
    """Log likelihoods of results, [candidate measured, result, draw], and what is at stake."""

    odds: Draws32
    stakes: Stakes

    @classmethod
    def of(
        cls,
        drawn: Floats,
        on: NDArray[np.bool_],
        noise: Floats,
        places: Places,
        rng: np.random.Generator,
    ) -> Foresight:
        """Foretell results of the candidates at `places`.

        Parameters
        ----------
        drawn : array
            Logarithms of latency and throughput, [2, candidate, draw].
        on : array
            [candidate, draw]
        noise : array
            Covariance of a run's logarithms, its share of a round's shift included.
        """
        draws = drawn.shape[2]
        true = rng.integers(0, draws, _RESULTS)
        whiten = np.linalg.cholesky(np.linalg.inv(noise / LOOK)).T
        odds = np.empty((len(places), _RESULTS, draws), np.float32)
        for at, place in enumerate(places):
            own = (whiten @ drawn[:, place]).astype(np.float32)
            results = own[:, true] + rng.standard_normal((2, _RESULTS), np.float32)
            odds[at] = -0.5 * ((results[:, :, None] - own[:, None]) ** 2).sum(axis=0)
        return cls(odds, Stakes.of(drawn, on))

    def doubt(self, known: Draws32 | float = 0.0) -> Floats:
        """Return the doubt left after each candidate's runs, [candidate], given those `known`."""
        return np.array([self.stakes.doubt(odds + known) for odds in self.odds])


@dataclass(frozen=True)
class Stakes:
    """Outcomes of each draw, [draw, column]: groups of columns of these `sizes`.

    1 where it has a candidate on the front; then by goal (latency, throughput, the larger of both)
    a candidate's loss as the pick. What no draw can change is left out.
    """

    table: Draws32
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, drawn: Floats, on: NDArray[np.bool_]) -> Stakes:
        sure = on.mean(axis=1)
        unsure = on[(sure > 0) & (sure < 1)].astype(np.float32)
        # Who loses more in every draw than another in any is never the pick.
        likely = [lost[lost.min(axis=1) <= lost.max(axis=1).min()] for lost in losses(drawn)]
        groups = [unsure, *likely]
        return cls(np.concatenate(groups).T, tuple(map(len, groups)))

    def doubt(self, odds: Draws32) -> float:
        """Return the mean doubt over results, [result, draw]."""
        shares = np.exp(odds - odds.max(axis=-1, keepdims=True))
        means = shares @ self.table / shares.sum(axis=-1, keepdims=True)
        sure, *lost = np.split(means, np.cumsum(self.sizes)[:-1], axis=-1)
        wrong = np.minimum(sure, 1 - sure).sum(axis=-1)
        worse = sum(goal.min(axis=-1) for goal in lost) / len(lost)
        return float((wrong + worse / _STAKE).mean())


def doubt(drawn: Floats, on: NDArray[np.bool_]) -> float:
    """Return the doubt there is now: wrong verdicts to expect, and the pick's expected loss."""
    return Stakes.of(drawn, on).doubt(np.zeros((1, drawn.shape[2]), np.float32))


def losses(drawn: Floats) -> Draws32:
    """Return how far each candidate is behind the best, by goal: [3, candidate, draw]."""
    behind = drawn.astype(np.float32)
    behind[1] *= -1
    behind = np.expm1(np.minimum(behind - behind.min(axis=1, keepdims=True), _FARTHEST))
    both = behind.max(axis=0)
    return np.concatenate([behind, (both - both.min(axis=0))[None]])
