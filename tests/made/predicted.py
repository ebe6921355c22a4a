"""Planted truths with predictions that err, from the times of real Pis and from invented chains.

A prediction adds up blocks that were each timed wrongly by a factor of their own; a host is slower
or faster than profiled at everything, a hop too, and every split has something nobody foresaw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from paretopipe_runtime.contract.candidates import Candidate
from tests.made import pi4b

Floats = NDArray[np.float64]
FIRST, LAST, HOP = "pi1", "pi2", "pi1>pi2"
# Deviations of logarithms: each block's, a host's, a split's on a host; a hop's, a split's on it.
_BLOCK, _HOST, _SPLIT, _HOP, _HOP_SPLIT = 0.10, 0.02, 0.02, 0.15, 0.10


@dataclass(frozen=True)
class World:
    """Where predictions err: of a host or a split, as a ratio - 1, in a direction by chance."""

    hop: float = 1.0  # times as long as the table's
    errors: float = 1.0  # times the usual deviations
    host: float = 0.0
    split: float = 0.0


WORLDS = {
    "Pi to Pi": World(),
    "slow link (hop x30)": World(hop=30),
    "a host 15 % biased": World(host=0.15),
    "one split 25 % off": World(split=0.25),
    "errors doubled": World(errors=2),
}


@dataclass(frozen=True)
class Planted:
    """True logarithms of latency and throughput, a row per split, and what is predicted of it."""

    true: Floats
    candidates: tuple[Candidate, ...]

    @property
    def off(self) -> Floats:
        """The median error of predictions, as ratios - 1: latency, throughput."""
        said = [(one.latency_s, one.throughput_img_s) for one in self.candidates]
        return np.asarray(np.median(np.abs(np.expm1(np.log(said) - self.true)), axis=0))


def tables() -> dict[str, Floats]:
    """Return by model the public table's seconds of part 1, part 2 and network, a row per split."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for model, _, seconds in pi4b.rows():
        found.setdefault(model, []).append(seconds)
    return {model: np.array(own) for model, own in sorted(found.items())}


def planted(rng: np.random.Generator, table: Floats, world: World) -> Planted:
    """Plant a table's truth in a world, and predict it."""
    real = table * [1, 1, world.hop]
    told = _told(rng, real, world.errors)
    told[:, 0] *= _either(rng, world.host)
    told[rng.integers(len(told))] *= _either(rng, world.split)
    # A row each: what the parts add up to, and the longest.
    sums, longest = real.sum(axis=1), real.max(axis=1)
    true = np.log(np.column_stack([sums, pi4b.BATCH / longest]))
    parts = [dict(zip((FIRST, LAST, HOP), row, strict=True)) for row in told.tolist()]
    return Planted(true, tuple(candidate((at,), own) for at, own in enumerate(parts, start=1)))


def planted_chain(
    rng: np.random.Generator, table: Floats, hosts: Sequence[str], world: World
) -> Planted:
    """Plant the truth of equal hosts in a row, from a table of two, and predict every split."""
    so_far = np.maximum.accumulate([0.0, *table[:, 0], table[-1, :2].sum()])
    sent = table[:, 2] * world.hop
    cuts = np.array([*combinations(range(1, len(so_far) - 1), len(hosts) - 1)])
    ends = np.pad(cuts, ((0, 0), (1, 1)), constant_values=(0, len(so_far) - 1))

    def by(deviation: float, *shape: int) -> Floats:
        return np.asarray(np.exp(world.errors * deviation * rng.standard_normal(shape)))

    own = np.diff(so_far) * by(_BLOCK, len(hosts), len(so_far) - 1) * by(_HOST, len(hosts), 1)
    timed = np.pad(np.cumsum(own, axis=1), ((0, 0), (1, 0)))
    timed[0] *= _either(rng, world.host)
    stages = np.arange(len(hosts))
    computed = timed[stages, ends[:, 1:]] - timed[stages, ends[:, :-1]]
    told = np.hstack(
        [
            computed * by(_SPLIT, *computed.shape),
            sent[cuts - 1] * by(_HOP, 1, cuts.shape[1]) * by(_HOP_SPLIT, *cuts.shape),
        ]
    )
    told[rng.integers(len(told))] *= _either(rng, world.split)
    real = np.hstack([np.diff(so_far[ends], axis=1), sent[cuts - 1]])
    true = np.log(np.column_stack([real.sum(axis=1), pi4b.BATCH / real.max(axis=1)]))
    places = [*hosts, *(f"{one}>{other}" for one, other in pairwise(hosts))]
    parts = [dict(zip(places, row, strict=True)) for row in told.tolist()]
    return Planted(true, tuple(map(candidate, map(tuple, cuts.tolist()), parts)))


def candidate(cuts: tuple[int, ...], parts: Mapping[str, float]) -> Candidate:
    """Return a candidate whose parts take so long."""
    total, pace = sum(parts.values()), max(parts.values())
    return Candidate(cuts, total, pi4b.BATCH / pace, 1.0, latency_parts=parts, pace_parts=parts)


def chain(rng: np.random.Generator, blocks: int, hosts: Sequence[str]) -> tuple[Candidate, ...]:
    """Return every split of invented blocks over hosts of equal speed."""
    cost = rng.gamma(1.5, size=blocks)
    sent = 0.5 * np.exp(-np.linspace(0, 3.5, blocks)) * rng.lognormal(0, 0.4, blocks)
    found = []
    for cuts in combinations(range(1, blocks), len(hosts) - 1):
        stages = pairwise((0, *cuts, blocks))
        parts = {
            host: float(cost[slice(*one)].sum()) for host, one in zip(hosts, stages, strict=True)
        }
        hops = [f"{one}>{other}" for one, other in pairwise(hosts)]
        parts |= {hop: float(sent[cut]) for hop, cut in zip(hops, cuts, strict=True)}
        found.append(candidate(cuts, parts))
    return tuple(found)


def _told(rng: np.random.Generator, real: Floats, errors: float) -> Floats:
    """Return what is predicted of a table's seconds; the last part's blocks count from the end."""

    def by(deviation: float, count: int = 1) -> Floats:
        return np.asarray(np.exp(errors * deviation * rng.standard_normal(count)))

    def summed(part: Floats) -> Floats:
        so_far = np.maximum.accumulate(part)
        own = np.diff(so_far, prepend=0.0)
        return np.asarray(part * np.cumsum(own * by(_BLOCK, len(part))) / so_far)

    count = len(real)
    first, last = summed(real[:, 0]), summed(real[::-1, 1])[::-1]
    return np.column_stack(
        [
            first * by(_HOST) * by(_SPLIT, count),
            last * by(_HOST) * by(_SPLIT, count),
            real[:, 2] * by(_HOP) * by(_HOP_SPLIT, count),
        ]
    )


def _either(rng: np.random.Generator, off: float) -> float:
    return float((1 + off) ** rng.choice([-1, 1]))
