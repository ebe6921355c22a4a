"""Batches on their way through stages and hops: how long one takes alone, how long many take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Station(NamedTuple):
    """A stage or a hop; seconds.

    ``through_s`` from when a batch is taken until it is passed on, ``busy_s`` from one batch being
    taken until the next one can be, ``delay_s`` on the way to the next station, where any number of
    batches can be under way.
    """

    through_s: float
    busy_s: float
    delay_s: float = 0.0


def latency_s(stations: Sequence[Station]) -> float:
    """Return the seconds of one batch with no other under way."""
    return sum(station.through_s + station.delay_s for station in stations)


def makespan_s(stations: Sequence[Station], batches: int, window: int) -> float:
    """Return the seconds from the first start to the last completion of `batches`.

    A batch starts as soon as fewer than `window` are under way, and every station takes them in
    order. Where one station is the bottleneck this is latency + (batches - 1) x its ``busy_s``;
    where the window is too small for the delay, batches go in groups of `window` a latency.
    """
    free = [0.0] * len(stations)
    done: list[float] = []
    for batch in range(batches):
        now = done[batch - window] if batch >= window else 0.0
        for place, station in enumerate(stations):
            begin = max(now, free[place])
            free[place] = begin + station.busy_s
            now = begin + station.through_s + station.delay_s
        done.append(now)
    return done[-1]


def least_s(stations: Sequence[Station], batches: int, window: int) -> float:
    """Return seconds that `makespan_s` is not below, in a fraction of its time.

    Every station takes all batches one after the other, and a batch waits for the one a window
    before it.
    """
    alone_s = latency_s(stations)
    bottleneck_s = alone_s + (batches - 1) * max(station.busy_s for station in stations)
    return max(bottleneck_s, ((batches - 1) // window + 1) * alone_s)
