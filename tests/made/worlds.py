"""Invented sweeps whose truth is known: two devices, a cut somewhere, runs that scatter.

Nothing here is measured. Block costs are gamma distributed, what is sent shrinks with depth, and
runs scatter log-normally around their round and their split, 3 % of them 1.3 times slower.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from reports.data.cells import Cell, Split, Spread
from reports.objectives import OBJECTIVES
from tests.made import figures

Cuts = tuple[int, ...]
SLOW = np.log(1.3)


@dataclass(frozen=True)
class Pairing:
    """How many times faster the second device is, and what sending costs at the earliest cut."""

    times_faster: float
    sent: float  # of the time that the first device needs for the whole model


PAIRINGS = {
    "Pi to Pi": Pairing(1, 0.08),
    "Pi to Pi, slow link": Pairing(1, 1.0),
    "Pi to GPU": Pairing(30, 0.08),
}


def truth(rng: np.random.Generator, pairing: Pairing, splits: int = 20) -> NDArray[np.float64]:
    """Return the true logarithms of latency and throughput of every split, one row each."""
    cost = rng.gamma(1.5, size=splits + 1)
    cost /= cost.sum()
    shrinking = np.exp(-np.linspace(0, 3.5, splits)) * rng.lognormal(0, 0.4, splits)
    sent = pairing.sent * shrinking
    first = np.cumsum(cost)[:-1]
    second = (1 - first) / pairing.times_faster
    latency = first + sent + second + 0.01
    # Sending keeps a stage's processor busy for a part of the time it takes.
    pace = np.maximum(np.maximum(first, second) + 0.3 * sent, sent)
    return np.log(np.column_stack([latency, 8 / pace]))


def runs(
    rng: np.random.Generator,
    true: NDArray[np.float64],
    cv: float,
    rounds: int = 5,
    slow: float = 0.03,
    drift: float = 0.01,
    missing: float = 0.0,
    uneven: float = 0.0,
) -> NDArray[np.float64]:
    """Return logarithms of what was measured: [split, round, latency or throughput].

    ``drift`` is the deviation of what a round does to all its runs, ``slow`` the share of runs
    that something disturbed, ``missing`` the share that is not there (NaN), ``uneven`` by how much
    (log-normally) the splits differ in their CV. What slows latency slows throughput; of the noise
    that holds by half.
    """
    signs = np.array([1.0, -1.0])
    related = np.array([[1.0, -0.5], [-0.5, 1.0]])
    noise = cv * rng.multivariate_normal([0, 0], related, (len(true), rounds))
    # Drawn only if wanted: the other draws stay what they are without it.
    if uneven:
        noise *= rng.lognormal(0, uneven, (len(true), 1, 1))
    shift = drift * rng.standard_normal((rounds, 1)) * signs
    disturbed = (rng.random((len(true), rounds, 1)) < slow) * SLOW * signs
    gone = np.where(rng.random((len(true), rounds, 1)) < missing, np.nan, 0.0)
    return np.asarray(true[:, None] + shift + noise + disturbed + gone)


def quantities(logs: NDArray[np.float64], place: int = 0) -> dict[Cuts, list[tuple[int, float]]]:
    """Return round and value of every measured run of every split, cut after its own block."""
    return {
        (index + 1,): [
            (number, float(np.exp(value)))
            for number, value in enumerate(row[:, place], start=1)
            if np.isfinite(value)
        ]
        for index, row in enumerate(logs)
    }


def cell(logs: NDArray[np.float64]) -> Cell:
    """Return the measured runs as a cell; every attempt was valid."""
    sides = [quantities(logs, place) for place in range(logs.shape[2])]
    splits = []
    for cuts in sides[0]:
        numbers = tuple(float(number) for number, _ in sides[0][cuts])
        runs = [tuple(value for _, value in side[cuts]) for side in sides]
        values = {objective.figure: own for objective, own in zip(OBJECTIVES, runs, strict=False)}
        splits.append(split(cuts, {"repeat": numbers, **values}))
    return figures.cell(splits)


def split(cuts: Cuts, values: dict[str, tuple[float, ...]], attempts: int = 0) -> Split:
    """Return a split with these runs; without any, so many attempts that failed."""
    found = {
        figure: Spread(median(own), min(own), max(own), len(own))
        for figure, own in values.items()
        if figure != "repeat"
    }
    tried = attempts or len(values["repeat"])
    return figures.split(str(cuts), cuts, found, attempts=tried, invalid=attempts, values=values)


def members(true: NDArray[np.float64], delta: float) -> list[bool]:
    """Tell of every split whether it truly is on the front at margin delta, by the definition."""
    margin = np.log(1 + delta)
    found = []
    for latency, throughput in true:
        beaten = False
        for other_latency, other_throughput in true:
            quicker, more = latency - other_latency, other_throughput - throughput
            beaten |= quicker > margin and more >= -margin
            beaten |= more > margin and quicker >= -margin
        found.append(not beaten)
    return found
