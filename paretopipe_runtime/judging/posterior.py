"""Belief about candidates after runs: a Gaussian mixture over all of them, measured or not.

The round model of ``model.py`` with a prior on the splits' effects:

    y[split, round] = split + round + residual,     split ~ Normal(prediction, what it is off by),

residuals Student-t with 4 degrees of freedom. How far predictions are off and how much a round
shifts is not assumed: a grid of each is weighted by its marginal likelihood, so that runs which
contradict the predictions widen the prior of all candidates.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from paretopipe_runtime.judging.model import Floats, Places
from paretopipe_runtime.judging.prior import Prior

_NU = 4.0
# Logarithms of each width: its grid, the middle and the deviation of its own log-normal prior.
_BIAS = ((0.01, 0.03, 0.1, 0.3), 0.03, 1.0)
_OFF = ((0.01, 0.02, 0.04, 0.08, 0.16), 0.025, 0.6)  # of trend and own alike
_ROUND = ((0.25, 0.6, 1.5, 4.0), 0.7, 0.8)  # of a round's shift over a run's deviation
# What runs of one split do: half of what slows latency does not slow throughput.
_RELATED = np.array([[1.0, -0.5], [-0.5, 1.0]])
# Runs that the expected scatter is worth.
_WORTH = 6.0
_STEPS = 8
_UNLIKELY = 12.0  # log odds below the likeliest's, of widths given up
# Weight, over the likeliest's, of a component of the mixture that is kept: with runs, and without.
_LEAST, _LIKELY = 0.01, 0.1


class Seen(NamedTuple):
    """A run: the place of its split among the candidates, its round, logarithms of its figures."""

    place: int
    round: int
    logs: tuple[float, ...]


class Widths(NamedTuple):
    bias: float
    off: float
    round: float


@dataclass(frozen=True)
class Posterior:
    """A mixture: weights [m], means [m, 2 n], covariances [m, 2 n, 2 n].

    `noise` is the covariance of one undisturbed run; `widths` are the likeliest;
    `surprise` each run's squared distance from what all others foretell, in deviations.
    """

    prior: Prior
    weights: Floats
    means: Floats
    covariances: Floats
    noise: Floats
    widths: Widths
    surprise: Floats

    @property
    def mean(self) -> Floats:
        """Logarithms: [variable, candidate]."""
        return np.asarray((self.weights @ self.means).reshape(2, -1))

    @property
    def deviation(self) -> Floats:
        within = np.einsum("m,mii->i", self.weights, self.covariances)
        between = self.weights @ (self.means - self.weights @ self.means) ** 2
        return np.asarray(np.sqrt(within + between).reshape(2, -1))

    def draws(self, rng: np.random.Generator, count: int) -> Floats:
        """Draw all candidates' effects jointly: [variable, candidate, draw]."""
        shares = np.floor(self.weights * count).astype(int)
        shares[self.weights.argmax()] += count - shares.sum()
        found = []
        for mean, covariance, share in zip(self.means, self.covariances, shares, strict=True):
            if share:
                tiny = 1e-12 * np.eye(len(mean))
                half = np.linalg.cholesky(covariance + tiny)
                found.append(mean[:, None] + half @ rng.standard_normal((len(mean), share)))
        drawn = np.concatenate(found, axis=1)
        return drawn.reshape(2, -1, count)


def posterior(prior: Prior, runs: Sequence[Seen], cv: float) -> Posterior:
    """Return what runs leave of a prior.

    Parameters
    ----------
    cv : float
        What a run is expected to scatter by: as good as six runs' worth of knowledge.
    """
    expected = cv**2 * _RELATED
    grid, odds = _grid()
    if not runs:
        kept = odds >= _LIKELY * odds.max()
        covariances = np.array([_off(prior, widths) for widths in itertools.compress(grid, kept)])
        means = np.repeat(prior.mean[None], len(covariances), axis=0)
        weights = odds[kept] / odds[kept].sum()
        return Posterior(
            prior, weights, means, covariances, expected, grid[odds.argmax()], np.zeros(0)
        )
    data = _Data.of(prior, runs)
    noise, weights = expected, np.ones(len(runs))
    for _ in range(_STEPS):
        fits = _fits(data, grid, noise, weights)
        likely = np.array([one.likelihood for one in fits]) + np.log(odds)
        fit = fits[int(likely.argmax())]
        residuals, degrees = fit.residuals()
        squared = np.einsum("np,np->n", residuals @ np.linalg.inv(noise), residuals)
        weights = np.minimum((_NU + 2) / (_NU + squared), 1.0)
        scatter = (residuals * weights[:, None]).T @ residuals
        noise = (_WORTH * expected + scatter) / (_WORTH + degrees)
        likeliest = likely > likely.max() - _UNLIKELY
        grid, odds = [*itertools.compress(grid, likeliest)], odds[likeliest]
    fits = _fits(data, grid, noise, weights)
    likely = np.array([one.likelihood for one in fits]) + np.log(odds)
    best = fits[int(likely.argmax())]
    share = np.exp(likely - likely.max())
    kept = share >= _LEAST
    found = [one.effects() for one in itertools.compress(fits, kept)]
    return Posterior(
        prior,
        share[kept] / share[kept].sum(),
        np.array([mean for mean, _ in found]),
        np.array([covariance for _, covariance in found]),
        noise,
        best.widths,
        best.surprise(noise, weights),
    )


def _grid() -> tuple[list[Widths], Floats]:
    grid = [Widths(*each) for each in itertools.product(_BIAS[0], _OFF[0], _ROUND[0])]
    far = [
        sum(
            (np.log(value / middle) / spread) ** 2
            for value, (_, middle, spread) in zip(widths, (_BIAS, _OFF, _ROUND), strict=True)
        )
        for widths in grid
    ]
    odds = np.exp(-0.5 * np.array(far))
    return grid, odds / odds.sum()


def _off(prior: Prior, widths: Widths) -> Floats:
    return widths.bias**2 * prior.bias + widths.off**2 * (prior.trend + prior.own)


@dataclass(frozen=True)
class _Data:
    prior: Prior
    rows: Places  # of the candidates' logarithms, those of each run: latencies, then throughputs
    beyond: Floats  # what was measured less what was predicted
    bias: Floats  # at these rows: of hundreds of candidates few have runs
    own: Floats  # and trend
    together: Floats  # [run, run]: 1 in the same round

    @classmethod
    def of(cls, prior: Prior, runs: Sequence[Seen]) -> _Data:
        places = np.array([run.place for run in runs])
        rounds = np.array([run.round for run in runs])
        rows = np.concatenate([places, places + len(prior.splits)])
        measured = np.array([run.logs for run in runs]).T.ravel()
        together = (rounds[:, None] == rounds[None]).astype(float)
        at = np.ix_(rows, rows)
        shapes = prior.bias[at], prior.trend[at] + prior.own[at]
        return cls(prior, rows, measured - prior.mean[rows], *shapes, together)


def _fits(data: _Data, grid: Sequence[Widths], noise: Floats, weights: Floats) -> list[_Solved]:
    each = np.asarray(np.kron(noise, np.diag(1 / weights)), np.float64)
    shifts = np.kron(noise, data.together)
    found = []
    for widths in grid:
        off = widths.bias**2 * data.bias + widths.off**2 * data.own
        half = np.asarray(np.linalg.cholesky(off + widths.round**2 * shifts + each), np.float64)
        solved = np.asarray(np.linalg.solve(half, data.beyond), np.float64)
        found.append(_Solved(data, widths, each, half, solved))
    return found


@dataclass(frozen=True)
class _Solved:
    data: _Data
    widths: Widths
    noise: Floats  # [2 run, 2 run]
    half: Floats
    solved: Floats

    @property
    def likelihood(self) -> float:
        return float(-0.5 * self.solved @ self.solved - np.log(np.diag(self.half)).sum())

    def effects(self) -> tuple[Floats, Floats]:
        """Return the mean and covariance of all candidates' effects."""
        off = _off(self.data.prior, self.widths)
        across = np.linalg.solve(self.half, off[self.data.rows])
        return self.data.prior.mean + across.T @ self.solved, off - across.T @ across

    def residuals(self) -> tuple[Floats, float]:
        """Return the runs' residuals, [run, variable], and their degrees of freedom."""
        inverse = np.linalg.inv(self.half)
        weighted = self.noise @ inverse.T
        residuals = (weighted @ self.solved).reshape(2, -1).T
        return residuals, max(float(np.einsum("ij,ij->", weighted, inverse.T)) / 2, 0.5)

    def surprise(self, noise: Floats, weights: Floats) -> Floats:
        """Return each run's squared distance from what all others foretell, in deviations."""
        inverse = np.linalg.inv(self.half)
        known = inverse.T @ inverse
        pulled = known @ self.data.beyond
        count = len(weights)
        found = np.empty(count)
        for at in range(count):
            own = [at, at + count]
            # Without what the run's own weight has added.
            spread = np.linalg.inv(known[np.ix_(own, own)]) - (1 / weights[at] - 1) * noise
            beyond = np.linalg.inv(known[np.ix_(own, own)]) @ pulled[own]
            found[at] = beyond @ np.linalg.solve(spread, beyond)
        return found
