"""Latency and makespan of batches in a pipeline of stages and hops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Station(NamedTuple):
    """A stage or a hop, in seconds.

    A batch takes ``through_s``, the next can enter after ``busy_s``; ``delay_s`` occupies nothing.
    """

    through_s: float
    busy_s: float
    delay_s: float = 0.0


def latency_s(stations: Sequence[Station]) -> float:
    return sum(station.through_s + station.delay_s for station in stations)


def makespan_s(stations: Sequence[Station], batches: int, window: int) -> float:
    """Return the seconds from the first start to the last completion.

    At most `window` batches are in flight, in order. With a bottleneck this is latency + (batches -
    1) x its ``busy_s``, with a window too small for the delay one latency per `window`.
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
    """Return a lower bound of `makespan_s`, much faster: every station takes batches one by one."""
    alone_s = latency_s(stations)
    bottleneck_s = alone_s + (batches - 1) * max(station.busy_s for station in stations)
    return max(bottleneck_s, ((batches - 1) // window + 1) * alone_s)
