"""How often the statistics are right about sweeps whose truth is known.

There is no grace near the margin: a split whose true distance to its rival is a hair beyond delta
is off, a hair within it is on, and a verdict that says otherwise is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.statistics.decision import decided
from reports.statistics.difference import ratios
from reports.statistics.judge import judge
from reports.statistics.sweeps import CHANGED, Pair, verdict
from tests.made import worlds

DELTA = 0.02


@dataclass(frozen=True)
class Verdicts:
    """Of one front: counts brought to 20 splits, and the mean squared error of the membership."""

    wrong: float
    undecided: float
    brier: float
    members: float
    naive: float  # splits that the strict front of medians takes for what they are not


def verdicts(
    true: NDArray[np.float64],
    rng: np.random.Generator,
    cv: float,
    rounds: int = 5,
    **scatter: float,
) -> Verdicts:
    """Judge one synthetic sweep over a known truth; ``scatter`` as in ``worlds.runs``."""
    return of(true, worlds.runs(rng, true, cv, rounds, **scatter))


def of(true: NDArray[np.float64], logs: NDArray[np.float64]) -> Verdicts:
    """Judge what was measured, as ``worlds.runs`` returns it."""
    said = judge(worlds.cell(logs), delta=DELTA)
    known = dict(zip(worlds.quantities(true[:, None]), worlds.members(true, DELTA), strict=True))
    each = 20 / len(said.verdict)
    contrary = {True: "off", False: "on"}
    return Verdicts(
        wrong=each
        * sum(verdict == contrary[known[cuts]] for cuts, verdict in said.verdict.items()),
        undecided=each * sum(verdict == "undecided" for verdict in said.verdict.values()),
        brier=float(np.mean([(sure - known[cuts]) ** 2 for cuts, sure in said.membership.items()])),
        members=each * sum(known.values()),
        naive=each * sum((cuts in said.strict) != known[cuts] for cuts in said.verdict),
    )


def mean(found: Sequence[Verdicts]) -> Verdicts:
    """Return the means over sweeps."""
    names = Verdicts.__dataclass_fields__
    return Verdicts(**{name: float(np.mean([getattr(v, name) for v in found])) for name in names})


def sweeps(
    pairing: worlds.Pairing,
    cvs: Sequence[float],
    count: int,
    rounds: int = 5,
    **scatter: float,
) -> list[Verdicts]:
    """Judge ``count`` sweeps, each with a truth of its own, the CVs taking turns."""
    found = []
    for number in range(count):
        rng = np.random.default_rng([number, 4])
        true = worlds.truth(rng, pairing)
        found.append(verdicts(true, rng, cvs[number % len(cvs)], rounds, **scatter))
    return found


@dataclass(frozen=True)
class Decisions:
    """Of many sweeps: shares, and means of losses and sizes."""

    bounded: float  # the true loss of the pick is within its bound
    expected: float  # loss, as said
    lost: float  # in truth
    hold: tuple[float, ...]  # the set of both goals, and of each, has the truly best
    again: tuple[float, ...]  # it has what a second sweep picks
    sizes: tuple[float, ...]


def decisions(
    pairing: worlds.Pairing, cv: float, count: int, twice: int, rounds: int = 5, **scatter: float
) -> Decisions:
    """Decide ``count`` sweeps, each with a truth of its own, the first ``twice`` once more."""
    found = [*zip(*_decided(pairing, cv, count, twice, rounds, scatter), strict=True)]
    return Decisions(*(_mean(values) for values in found))


def _decided(
    pairing: worlds.Pairing,
    cv: float,
    count: int,
    twice: int,
    rounds: int,
    scatter: dict[str, float],
) -> Iterator[tuple[NDArray[np.float64], ...]]:
    for number in range(count):
        rng = np.random.default_rng([number, 8])
        true = worlds.truth(rng, pairing)
        losses = np.expm1(
            np.column_stack([true[:, 0] - true[:, 0].min(), true[:, 1].max() - true[:, 1]])
        )
        truth = np.column_stack([losses.max(axis=1), losses])
        said, *other = (
            found
            for _ in range(1 + (number < twice))
            if (found := decided(worlds.cell(worlds.runs(rng, true, cv, rounds, **scatter)), DELTA))
        )
        choices = [said.both, *said.goals.values()]
        later = [choice for found in other for choice in (found.both, *found.goals.values())]
        assert said.both.bound is not None
        lost = truth[said.both.pick[0] - 1, 0]
        yield tuple(
            np.array(one, float)
            for one in (
                # To the digits that a page shows.
                lost <= said.both.bound + 5e-5,
                said.both.expected,
                lost,
                [(best + 1,) in c.tied for best, c in zip(truth.argmin(0), choices, strict=True)],
                [then.pick in c.tied for then, c in zip(later, choices, strict=False)]
                or [np.nan] * len(choices),
                [len(c.tied) for c in choices],
            )
        )


def _mean(values: Sequence[NDArray[np.float64]]) -> Any:
    means = np.nanmean(values, axis=0)
    return tuple(map(float, means)) if means.ndim else float(means)


def covered(n: int, cv: float, sweeps: int, slow: float = 0.03) -> float:
    """Return how often, in percent, [min, max] of n runs encloses the undisturbed median."""
    rng = np.random.default_rng([n, 5])
    true = np.zeros((20, 2))
    inside = []
    for _ in range(sweeps):
        logs = worlds.runs(rng, true, cv, rounds=n, slow=slow)
        inside.append((logs.min(axis=1) <= 0) & (logs.max(axis=1) >= 0))
    return 100 * float(np.mean(inside))


@dataclass(frozen=True)
class Compared:
    """Of many comparisons of splits, the shares that came out as each verdict."""

    equal: float
    undecided: float
    lower: float
    higher: float
    covers: float  # the interval holds the true ratio, the shift between the cells included


def compared(
    ratio: float,
    cv: float,
    sweeps: int,
    rounds: int = 5,
    drift: float = 0.01,
    shift: float = 0.01,
) -> Compared:
    """Measure the same 20 splits twice, the second time ``ratio`` as slow, and compare latencies.

    ``drift`` is the deviation from round to round, ``shift`` that between the two cells although
    nothing was changed, as they are measured one after the other.
    """
    said: list[str] = []
    covers = []
    for number in range(sweeps):
        rng = np.random.default_rng([number, 6])
        true = worlds.truth(rng, worlds.PAIRINGS["Pi to Pi"])
        moved = shift * rng.standard_normal() + np.log(ratio)
        again = true + moved * np.array([1.0, -1.0])
        first = worlds.quantities(worlds.runs(rng, true, cv, rounds, drift=drift))
        second = worlds.quantities(worlds.runs(rng, again, cv, rounds, drift=drift))
        for found in ratios(first, second, DELTA).values():
            said.append(found.verdict)
            assert found.low is not None
            assert found.high is not None
            covers.append(found.low <= np.exp(moved) <= found.high)
    shares = {word: said.count(word) / len(said) for word in set(said)}
    return Compared(
        *(shares.get(word, 0.0) for word in ("equal", "undecided", "lower", "higher")),
        covers=float(np.mean(covers)),
    )


@dataclass(frozen=True)
class Swept:
    """Of many pairs of sweeps: shares."""

    falsely: float  # of the pairs, that call something changed which is as it was
    found: float  # of the planted changes, that are called changed
    said: dict[str, float]  # of all comparisons, by verdict


def swept(
    cv: float,
    pairs: int,
    ratio: float = 1.0,
    rounds: int = 5,
    shift: float = 0.0,
    cells: int = 1,
) -> Swept:
    """Measure `cells` cells of 20 splits in two sweeps, both objectives; in each P5 changed.

    P5 has become `ratio` times as slow, in throughput too. ``shift`` is the deviation of what a
    sweep does to a whole cell although nothing was changed.
    """
    falsely, found, said = [], [], list[str]()
    signs = np.array([1.0, -1.0])
    for number in range(pairs):
        rng = np.random.default_rng([number, 9])
        both = []
        for _ in range(cells):
            true = worlds.truth(rng, worlds.PAIRINGS["Pi to Pi"])
            again = true + shift * rng.standard_normal() * signs
            again[4] += np.log(ratio) * signs
            both.append(
                Pair.of(
                    *(worlds.cell(worlds.runs(rng, side, cv, rounds)) for side in (true, again))
                )
            )
        total = sum(pair.size for pair in both)
        rest = []
        for pair in both:
            for objective in pair.objectives:
                changes = pair.changes(objective, DELTA, total)
                planted = verdict(changes.each[5,], DELTA)
                found += [planted == CHANGED] if ratio != 1 else []
                said += changes.verdicts
                rest += changes.verdicts
                if ratio != 1:
                    rest.remove(planted)
        falsely.append(CHANGED in rest)
    shares = {word: said.count(word) / len(said) for word in sorted(set(said))}
    return Swept(float(np.mean(falsely)), float(np.mean(found)) if found else 0.0, shares)
