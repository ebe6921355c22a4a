"""What to expect of further runs: how many wrong verdicts, and how bad a pick, they leave.

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
    """Results foretold.

    ``odds``: log likelihoods, [candidate measured, result, draw]. ``on``: 1 where a draw has a
    candidate on the front, [draw, candidate]. ``losses``: of each candidate as the pick, by goal
    (latency, throughput, the larger of both), [goal, draw, candidate].
    """

    odds: Draws32
    on: Draws32
    losses: Draws32

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
        return cls(odds, on.T.astype(np.float32), losses(drawn).transpose(0, 2, 1))

    def doubt(self, known: Draws32 | float = 0.0) -> Floats:
        """Return the doubt left after each candidate's runs, [candidate], given those `known`."""
        return _left(self.odds + known, self.on, self.losses)


def _left(odds: Draws32, on: Draws32, lost: Draws32) -> Floats:
    shares = np.exp(odds - odds.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    sure = shares @ on
    wrong = np.minimum(sure, 1 - sure).sum(axis=-1)
    worse = sum((shares @ goal).min(axis=-1) for goal in lost) / len(lost)
    return np.asarray((wrong + worse / _STAKE).mean(axis=-1), np.float64)


def doubt(drawn: Floats, on: NDArray[np.bool_]) -> float:
    """Return the doubt there is now: wrong verdicts to expect, and the pick's expected loss."""
    even = np.zeros((1, drawn.shape[2]), np.float32)
    return float(_left(even, on.T.astype(np.float32), losses(drawn).transpose(0, 2, 1)))


def losses(drawn: Floats) -> Draws32:
    """Return how far each candidate is behind the best, by goal: [3, candidate, draw]."""
    behind = drawn.astype(np.float32)
    behind[1] *= -1
    behind = np.expm1(np.minimum(behind - behind.min(axis=1, keepdims=True), _FARTHEST))
    both = behind.max(axis=0)
    return np.concatenate([behind, (both - both.min(axis=0))[None]])
