"""The block model: what a split does, what a block did to all of its runs, and what is noise.

On the log scale, of latency and throughput together,

    y[split, block] = split + block + residual,      residual ~ Student-t, 4 degrees of freedom,

with one residual covariance pooled over all splits (a randomised complete block design; missing
runs and extra blocks with few splits are allowed). Pooling is what makes five runs of a split
enough: 20 splits in 5 blocks leave 76 degrees of freedom for the spread instead of 4.

The Student-t is there for the few runs that something disturbed: a run far from its split and its
block gets little weight, none is dropped. Per front of 20 splits (two equal devices, 5 blocks,
CV 2 %, 100 synthetic sweeps), wrong verdicts / undecided splits:

    share of runs 1.3 times slower    none          3 %           10 %
    normal residuals                  0.04 / 1.8    0.13 / 3.9    0.12 / 5.4
    Student-t, 4 degrees              0.05 / 2.0    0.04 / 2.2    0.02 / 3.6

Huber's and Tukey's weights, tried on the same kind of sweeps, left fewer splits undecided and were
too sure of the rest: at 10 % the true effect was beyond two standard errors in 14 to 15 % of the
cases, with the Student-t in 2 %. ``docs/statistics.md`` has the operating characteristics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Cuts = tuple[int, ...]
Floats = NDArray[np.float64]

# Lange, Little and Taylor (1989): 4 degrees of freedom, fixed, where there is too little to fit it.
_NU = 4.0
# Of undisturbed (normal) runs, by the number of variables: their covariance over the Student-t's
# scatter, and the variance of the weighted location over that of the mean. The weights average
# one where the scatter has settled (Kent, Tyler and Vardi, 1994); a test integrates them anew.
_STUDENT = {1: (1.44809, 1.12021), 2: (1.37599, 1.12798)}
# Below this nothing tells a disturbed run from its neighbours: all weights stay one.
_ROBUST_FROM = 8
# A block's own effect has ten times the residual's deviation before any run is seen: for splits
# that share blocks this is as good as unknown; those that never do can still be set against
# each other, with that much more doubt.
_BLOCK_PRIOR = 0.01
_STEPS = 200


@dataclass(frozen=True)
class Run:
    """One run: the number of its block and the natural logarithms of what was measured."""

    block: int
    logs: tuple[float, ...]


@dataclass(frozen=True)
class Fit:
    """The fitted model; with no degree of freedom left there is no covariance."""

    splits: tuple[Cuts, ...]
    blocks: tuple[int, ...]
    effects: Floats  # of each split, logarithms
    drifts: Floats  # of each block; they add up to zero
    covariance: Floats  # of one undisturbed run's residual
    doubt: Floats  # split by split; times the covariance: that of the effects
    runs: Floats  # of each split: its weights added up, disturbed runs counting less
    residuals: tuple[tuple[Cuts, int, tuple[float, ...]], ...]
    degrees: int

    @property
    def deviation(self) -> Floats:
        """The standard deviation of one undisturbed run, a CV as long as it is small."""
        return np.sqrt(np.diag(self.covariance))


def fit(runs: Mapping[Cuts, Sequence[Run]]) -> Fit:
    """Fit splits, blocks and the pooled residual covariance; at least one run is needed.

    The order of the runs does not matter.
    """
    splits = tuple(sorted(cuts for cuts in runs if runs[cuts]))
    listed = [
        (cuts, run)
        for cuts in splits
        for run in sorted(runs[cuts], key=lambda run: (run.block, run.logs))
    ]
    if not listed:
        raise ValueError("fit() needs at least one run")
    blocks = tuple(sorted({run.block for _, run in listed}))
    of_split = _indicator([splits.index(cuts) for cuts, _ in listed], len(splits))
    of_block = _indicator([blocks.index(run.block) for _, run in listed], len(blocks))
    y = np.array([run.logs for _, run in listed])
    ones = np.ones(len(y))
    left = _information(of_split, of_block, ones, prior=0.0)
    degrees = len(y) - len(blocks) - int(np.linalg.matrix_rank(left, hermitian=True))

    variables = y.shape[1]
    robust = degrees >= _ROBUST_FROM
    spread, caution = _STUDENT[variables] if robust else (1.0, 1.0)
    weights, scatter = ones, np.zeros((variables, variables))
    for _ in range(_STEPS if robust else 1):
        effects, drifts = _additive(y, of_split, of_block, weights)
        residuals = y - of_split @ effects - of_block @ drifts
        before, scatter = scatter, _scatter(residuals, weights, degrees)
        if not robust or np.allclose(scatter, before, rtol=1e-6, atol=0):
            break
        squared = np.einsum("np,pq,nq->n", residuals, np.linalg.inv(scatter), residuals)
        weights = (_NU + variables) / (_NU + squared)
    weights = weights / weights.mean()
    known = _information(of_split, of_block, weights, _BLOCK_PRIOR)
    return Fit(
        splits=splits,
        blocks=blocks,
        effects=effects,
        drifts=drifts,
        covariance=scatter * spread,
        doubt=np.asarray(np.linalg.inv(known) * caution, np.float64),
        runs=weights @ of_split / caution,
        residuals=tuple(
            (cuts, run.block, tuple(float(part) for part in residual))
            for (cuts, run), residual in zip(listed, residuals, strict=True)
        ),
        degrees=degrees,
    )


def _indicator(places: Sequence[int], width: int) -> Floats:
    return np.asarray(np.eye(width)[np.array(places)], np.float64)


def _information(of_split: Floats, of_block: Floats, weights: Floats, prior: float) -> Floats:
    """Return what the runs say about the splits once the blocks have had their share."""
    table = (of_split * weights[:, None]).T @ of_block
    shared = table / (table.sum(axis=0) + prior) @ table.T
    return np.asarray(np.diag(table.sum(axis=1)) - shared, np.float64)


def _additive(
    y: Floats, of_split: Floats, of_block: Floats, weights: Floats
) -> tuple[Floats, Floats]:
    weighted = y * weights[:, None]
    table = (of_split * weights[:, None]).T @ of_block
    seen = (table.sum(axis=0) + _BLOCK_PRIOR)[:, None]
    known = _information(of_split, of_block, weights, _BLOCK_PRIOR)
    by_block = of_block.T @ weighted
    effects = np.linalg.solve(known, of_split.T @ weighted - table @ (by_block / seen))
    return effects, (by_block - table.T @ effects) / seen


def _scatter(residuals: Floats, weights: Floats, degrees: int) -> Floats:
    """Return the weighted covariance; never quite singular, as clocks have a resolution too."""
    found = (residuals * weights[:, None]).T @ residuals / weights.sum()
    found = found * len(residuals) / max(degrees, 1)
    scatter: Floats = found + np.diag(1e-6 * np.diag(found) + 1e-18)
    return scatter
