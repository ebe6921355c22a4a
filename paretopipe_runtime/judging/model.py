"""The round model: effects of splits and rounds, and noise.

On the log scale, of latency and throughput together,

    y[split, round] = split + round + residual,      residual ~ Student-t, 4 degrees of freedom,

with one residual covariance for all splits (a randomised complete block design, missing runs
allowed): 20 splits in 5 rounds leave 76 degrees of freedom instead of 4 per split.

Student-t residuals give disturbed runs little weight. Per front of 20 splits (two equal devices, 5
rounds, CV 2 %, 100 synthetic sweeps), wrong verdicts / undecided splits:

    share of runs 1.3 times slower    none          3 %           10 %
    normal residuals                  0.04 / 1.8    0.13 / 3.9    0.12 / 5.4
    Student-t, 4 degrees              0.05 / 2.0    0.04 / 2.2    0.02 / 3.6

Huber's and Tukey's weights were overconfident: at 10 % the true effect was beyond two standard
errors in 14 to 15 % of cases, here in 2 %. ``docs/statistics.md`` has more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Cuts = tuple[int, ...]
Floats = NDArray[np.float64]
Places = NDArray[np.intp]

# Lange, Little and Taylor (1989): fixed at 4 where data are too few to fit it.
_NU = 4.0
# Of undisturbed (normal) runs, by the number of variables: their covariance over the Student-t's
# scatter, and the variance of the weighted location over that of the mean. The weights average
# one where the scatter has settled (Kent, Tyler and Vardi, 1994); a test integrates them anew.
_STUDENT = {
    **{1: (1.44809, 1.12021), 2: (1.37599, 1.12798)},
    **{3: (1.32295, 1.13031), 4: (1.28237, 1.12948)},
}
# Degrees of freedom below which a disturbed run cannot be told: all weights stay one.
_ROBUST_FROM = 8
# Prior of a round's effect: ten times the residual's deviation. As good as unknown for splits that
# share rounds; others can still be compared, with more doubt.
_ROUND_PRIOR = 0.01
_STEPS = 200


class Run(NamedTuple):
    """One run: its round, and the natural logarithms of its figures."""

    round: int
    logs: tuple[float, ...]


@dataclass(frozen=True)
class Fit:
    """The fitted model; zero degrees of freedom leave no covariance."""

    splits: tuple[Cuts, ...]
    rounds: tuple[int, ...]
    effects: Floats  # of each split, logarithms
    drifts: Floats  # of each round; they add up to zero
    covariance: Floats  # of one undisturbed run's residual
    doubt: Floats  # split by split; times `covariance`, the covariance of the effects
    runs: Floats  # of each split: sum of its weights, disturbed runs counting less
    residuals: Floats  # of each run, by split and round
    of_split: Places  # of each run, the index of its split
    of_round: Places  # and of its round
    degrees: int

    @property
    def deviation(self) -> Floats:
        """The standard deviation of one undisturbed run, about its CV."""
        return np.sqrt(np.diag(self.covariance))


def fit(runs: Mapping[Cuts, Sequence[Run]]) -> Fit:
    """Fit split and round effects and the pooled residual covariance, in any order of runs.

    Raises
    ------
    ValueError
        Without a run.
    """
    splits = tuple(sorted(cuts for cuts in runs if runs[cuts]))
    if not splits:
        raise ValueError("fit() needs at least one run")
    listed = [(place, run) for place, cuts in enumerate(splits) for run in runs[cuts]]
    rounds, of_round = np.unique([run.round for _, run in listed], return_inverse=True)
    of_split = np.array([place for place, _ in listed])
    y = np.array([run.logs for _, run in listed])
    order = np.lexsort((*y.T[::-1], of_round, of_split))
    y, design = y[order], _Design(of_split[order], of_round[order], len(splits), len(rounds))
    ones = np.ones(len(y))
    left = _information(design.table(ones), prior=0.0)
    degrees = len(y) - len(rounds) - int(np.linalg.matrix_rank(left, hermitian=True))

    variables = y.shape[1]
    robust = degrees >= _ROBUST_FROM
    spread, caution = _STUDENT[variables] if robust else (1.0, 1.0)
    weights, scatter = ones, np.zeros((variables, variables))
    for _ in range(_STEPS if robust else 1):
        effects, drifts = _additive(y, design, weights)
        residuals = y - effects[design.of_split] - drifts[design.of_round]
        before, scatter = scatter, _scatter(residuals, weights, degrees)
        if not robust or np.allclose(scatter, before, rtol=1e-6, atol=0):
            break
        squared = np.einsum("np,np->n", residuals @ np.linalg.inv(scatter), residuals)
        weights = (_NU + variables) / (_NU + squared)
    weights = weights / weights.mean()
    known = _information(design.table(weights), _ROUND_PRIOR)
    return Fit(
        splits=splits,
        rounds=tuple(rounds.tolist()),
        effects=effects,
        drifts=drifts,
        covariance=scatter * spread,
        doubt=np.asarray(np.linalg.inv(known) * caution, np.float64),
        runs=design.by_split(weights) / caution,
        residuals=residuals,
        of_split=design.of_split,
        of_round=design.of_round,
        degrees=degrees,
    )


@dataclass(frozen=True)
class _Design:
    of_split: Places
    of_round: Places
    splits: int
    rounds: int

    def table(self, weights: Floats) -> Floats:
        """Sum the weights by split and round."""
        cells = np.bincount(
            self.of_split * self.rounds + self.of_round, weights, self.splits * self.rounds
        )
        return np.asarray(cells, np.float64).reshape(self.splits, self.rounds)

    def by_split(self, values: Floats) -> Floats:
        return np.asarray(np.bincount(self.of_split, values, self.splits), np.float64)

    def by_round(self, values: Floats) -> Floats:
        return np.asarray(np.bincount(self.of_round, values, self.rounds), np.float64)


def _information(table: Floats, prior: float) -> Floats:
    """Return the splits' information matrix, round effects eliminated."""
    shared = table / (table.sum(axis=0) + prior) @ table.T
    return np.asarray(np.diag(table.sum(axis=1)) - shared, np.float64)


def _additive(y: Floats, design: _Design, weights: Floats) -> tuple[Floats, Floats]:
    weighted = (y * weights[:, None]).T
    table = design.table(weights)
    seen = (table.sum(axis=0) + _ROUND_PRIOR)[:, None]
    by_split = np.column_stack([design.by_split(values) for values in weighted])
    by_round = np.column_stack([design.by_round(values) for values in weighted])
    known = _information(table, _ROUND_PRIOR)
    effects = np.linalg.solve(known, by_split - table @ (by_round / seen))
    return effects, (by_round - table.T @ effects) / seen


def _scatter(residuals: Floats, weights: Floats, degrees: int) -> Floats:
    """Return the weighted covariance, made non-singular as clocks have a resolution."""
    found = (residuals * weights[:, None]).T @ residuals / weights.sum()
    found = found * len(residuals) / max(degrees, 1)
    scatter: Floats = found + np.diag(1e-6 * np.diag(found) + 1e-18)
    return scatter
