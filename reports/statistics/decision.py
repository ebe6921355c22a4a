"""Which split to take: least expected loss, its bound, and what cannot be told apart from it.

The loss of a split is its distance behind the best split, latency / best - 1 or best / throughput
- 1; in both goals, the larger. It is drawn from the round model of all runs with the effects of
splits shrunken towards their mean (James and Stein): the best of twenty noisy estimates looks
better than it is, so that without it a pick seems further behind than it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log, log1p, sqrt

import numpy as np

from paretopipe_runtime.judging.membership import DRAWS, errors, unspread
from paretopipe_runtime.judging.model import Cuts, Fit, Floats, Places
from reports.data.cells import Cell
from reports.objectives import DELTA, Objective
from reports.statistics.judge import fit_splits

# The quantile of the drawn losses that holds the true one in 90 % of planted sweeps.
BOUND = 0.9
SURE = 0.95  # probability that a set has what a second sweep would call the best in one goal
RARE = 0.01  # a split is left out of the set of both goals if a second sweep picks it more rarely
# One run of each has no spread; what is twice as far off is worse all the same.
ALONE = 1.0
# Standard errors that a difference must have for a test at 5 % to see it in 80 % of cases.
_SEEN = 2.8
# Degrees of freedom below which draws are so wide that they say nothing.
_FEWEST = 3
# Logarithm of the largest loss drawn: few degrees of freedom have no finite mean without.
_FARTHEST = log(11)


@dataclass(frozen=True)
class Choice:
    """The split to take for a goal; losses are ratios - 1: 0.13 for 13 %."""

    pick: Cuts
    expected: float  # loss
    bound: float | None  # of the loss, at 90 %; None if runs have no known spread
    tied: tuple[Cuts, ...]  # cannot be told apart: the pick first, then likely ones first
    needed: int | None  # runs of each that would tell; None if unknown

    @property
    def open(self) -> bool:
        return len(self.tied) > 1


@dataclass(frozen=True)
class Decision:
    """A cell's choices; with a ``reason`` the runs' spread is unknown."""

    reason: str
    both: Choice
    worse: Objective  # the goal in which the pick is behind the most
    goals: Mapping[str, Choice]  # by the objective's figure
    expected: Mapping[Cuts, float]  # loss in the worse goal, least first

    def of(self, objective: Objective) -> Choice:
        return self.goals[objective.figure]


@dataclass(frozen=True)
class Drawn:
    """Losses of a cell's splits in each goal: [goal, split, draw]; a single draw if unspread."""

    splits: Sequence[Cuts]
    deviation: Floats  # of a run, by goal; unknown if unspread
    objectives: tuple[Objective, ...]
    losses: Floats
    behind: Floats  # the best estimate, by goal and split
    tied: Sequence[Sequence[bool]]  # by goal and split: may be the best
    again: Floats  # losses as a second sweep would see them
    reason: str  # without a known spread; else empty


def drawn(cell: Cell, seed: int = 0) -> Drawn | None:
    """Draw the losses of the splits that a cell has values of; None without a run.

    Those that lose more accuracy than does not matter are left out.
    """
    if cell.standing:
        return _believed(cell)
    model = fit_splits([split for split in cell.accurate if split.runs], cell.objectives)
    if model is None:
        return None
    effects = _signed(model.effects.T[:, :, None], cell.objectives)
    if model.degrees < _FEWEST:
        losses = _losses(effects)
        alone = losses[:, :, 0]
        few = "too few runs: how much they differ is not known" if len(model.splits) > 1 else ""
        reason = unspread(model) or few
        tied = (alone <= ALONE).tolist()
        return Drawn(
            *(model.splits, model.deviation, cell.objectives, losses, alone, tied, losses, reason)
        )
    noise = errors(model, seed, DRAWS)
    signed = _signed(noise, cell.objectives)
    # Subset selection (Gupta, 1965): if a split is the best, it seems worse than another by noise
    # alone, and by no more than this in 95 % of draws. What a second sweep calls the best has that
    # sweep's noise as well, of equal size.
    reach = sqrt(2) * np.quantile(signed - signed.min(axis=1, keepdims=True), SURE, axis=2)
    behind = effects[:, :, 0] - effects[:, :, 0].min(axis=1, keepdims=True)
    likely = _signed(_shrunken(model, noise, seed), cell.objectives)
    again = _losses(likely + np.roll(signed, 1, axis=2))  # with the noise of another draw
    tied = (behind <= reach).tolist()
    return Drawn(
        *(model.splits, model.deviation, cell.objectives, _losses(likely), behind, tied, again, "")
    )


def _believed(cell: Cell) -> Drawn:
    """Return what is believed as it is: its prior has shrunken it already."""
    standing, objectives = cell.standing, cell.objectives
    assert standing is not None
    aside = cell.lossy
    places = [at for at, cuts in enumerate(standing.splits) if cuts not in aside]
    splits = [standing.splits[at] for at in places]
    signed = _signed(standing.drawn[:, places], objectives)
    losses, middle = _losses(signed), signed.mean(axis=2)
    behind = middle - middle.min(axis=1, keepdims=True)
    tied = [_likeliest(row, len(behind[0])) for row in signed.argmin(axis=1)]
    deviation = np.sqrt(np.diag(standing.believed.noise))
    return Drawn(splits, deviation, objectives, losses, behind, tied, losses, "")


def _likeliest(best: Places, count: int) -> list[bool]:
    """Mark the fewest splits that hold the best one in `SURE` of the draws."""
    chance = np.bincount(best, minlength=count) / len(best)
    order = np.argsort(-chance, kind="stable")
    before = np.cumsum(chance[order]) - chance[order]
    found = np.zeros(count, bool)
    found[order[before < SURE]] = True
    return found.tolist()


def decided(cell: Cell, delta: float = DELTA, seed: int = 0) -> Decision | None:
    """Choose a cell's splits, deterministically; None without a run."""
    found = drawn(cell, seed)
    if found is None:
        return None
    splits = found.splits
    both = found.losses.max(axis=0)
    known = both.shape[1] > 1
    if known:
        picks = found.again.max(axis=0).argmin(axis=0)
        chosen = np.bincount(picks, minlength=len(splits)) / both.shape[1]
        near = (chosen >= RARE).tolist()
    else:
        near = (both[:, 0] <= both.min() + ALONE).tolist()
    deviation = found.deviation if known else np.zeros(len(found.objectives))
    choice = choose(splits, both, near, float(deviation.max()), delta)
    means = found.losses[:, splits.index(choice.pick)].mean(axis=1)
    expected = both.mean(axis=1)
    return Decision(
        reason=found.reason,
        both=choice,
        worse=found.objectives[int(means.argmax())],
        goals={
            one.figure: choose(splits, lost, tied, float(spread), one.within(delta), behind)
            for one, lost, tied, spread, behind in zip(
                *(found.objectives, found.losses, found.tied, deviation, found.behind), strict=True
            )
        },
        expected={splits[at]: float(expected[at]) for at in np.argsort(expected, kind="stable")},
    )


def whichever(cells: Sequence[Cell], objective: Objective, delta: float = DELTA) -> Choice | None:
    """Choose the split whose worst loss over all networks is least.

    None for fewer than two measured networks, without a split common to all, or without a spread.
    """
    known = [
        found
        for seed, cell in enumerate(cells)
        if objective in cell.objectives and (found := drawn(cell, seed))
    ]
    if len(known) < 2 or any(found.losses.shape[2] == 1 for found in known):
        return None
    common = sorted(set.intersection(*(set(found.splits) for found in known)))
    if not common:
        return None
    worst = np.max(
        [
            found.losses[found.objectives.index(objective)][
                [found.splits.index(cuts) for cuts in common]
            ]
            for found in known
        ],
        axis=0,
    )
    chosen = np.bincount(worst.argmin(axis=0), minlength=len(common)) / worst.shape[1]
    spread = max(float(found.deviation[found.objectives.index(objective)]) for found in known)
    return choose(common, worst, (chosen >= RARE).tolist(), spread, objective.within(delta))


def choose(
    splits: Sequence[Cuts],
    losses: Floats,
    tied: Sequence[bool],
    deviation: float,
    delta: float,
    ranks: Floats | None = None,
) -> Choice:
    """Choose from drawn losses, [split, draw]; ties go to the earliest cut.

    Parameters
    ----------
    tied
        By split: may be the best.
    deviation
        Of a run's logarithms; 0 if unknown.
    ranks
        By split, the least is picked; without, the least expected loss.
    """
    means = losses.mean(axis=1)
    order = np.argsort(means if ranks is None else ranks, kind="stable").tolist()
    first = order[0]
    rivals = [place for place in order[1:] if tied[place]]
    needed: int | None = 0
    if rivals and deviation:
        # Closer than delta they are equally good; to see that costs as much.
        gap = min(float(means[place] - means[first]) for place in rivals)
        closest = max(gap, log1p(delta))
        needed = max(2, ceil(2 * (_SEEN * deviation / closest) ** 2))
    elif rivals:
        needed = None
    return Choice(
        pick=splits[first],
        expected=float(means[first]),
        bound=float(np.quantile(losses[first], BOUND)) if losses.shape[1] > 1 else None,
        tied=tuple(splits[place] for place in (first, *rivals)),
        needed=needed,
    )


def _signed(logs: Floats, objectives: Sequence[Objective]) -> Floats:
    """Return logarithms by goal: the less the better."""
    signs = np.array([1.0 if one.lower else -1.0 for one in objectives])
    return np.asarray(logs * signs[:, None, None])


def _losses(logs: Floats) -> Floats:
    return np.asarray(np.expm1(np.minimum(logs - logs.min(axis=1, keepdims=True), _FARTHEST)))


def _shrunken(model: Fit, noise: Floats, seed: int) -> Floats:
    """Draw effects with a normal prior whose mean and covariance come from all splits.

    In the basis where residuals are uncorrelated and the splits' spread is, too, variables are
    shrunken one by one. An effect and a measurement are drawn, and what was measured beyond that
    is shrunken and added, which gives draws of the posterior with any missing runs.
    """
    count = len(model.splits)
    if count <= 3:  # James and Stein need four
        return np.asarray(model.effects.T[:, :, None] + noise)
    whiten = np.linalg.inv(np.linalg.cholesky(model.covariance))
    white = whiten @ model.effects.T
    own = white - white.mean(axis=1, keepdims=True)
    spreads, basis = np.linalg.eigh(own @ own.T / (count - 3))
    turn = basis.T @ whiten
    level = float(np.trace(model.doubt) - model.doubt.sum() / count) / (count - 1)
    rng = np.random.default_rng([seed, count])
    found = np.einsum("vu,ukd->vkd", turn, noise)
    for place, seen in enumerate(turn @ model.effects.T):
        prior = max(float(spreads[place]) - level, 0.0)
        effect = np.sqrt(prior) * rng.standard_normal(found.shape[1:])
        beyond = seen[:, None] - effect - found[place]
        known = np.linalg.inv(model.doubt + prior * np.eye(count))
        mean = known.sum(axis=0) @ beyond / known.sum()
        found[place] = effect + mean + prior * (known @ (beyond - mean))
    return np.asarray(np.einsum("vu,ukd->vkd", np.linalg.inv(turn), found))
