"""Compute of blocks, and latency and pace of batches in a pipeline of stages and hops."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
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


def pace_s(stations: Sequence[Station], window: int) -> float:
    """Return the seconds between completions of a full pipeline, `window` batches in flight.

    The slowest station's, or a latency shared by a window too small for the delay.
    """
    return max(max(station.busy_s for station in stations), latency_s(stations) / window)


def corrected(blocks_s: Sequence[float], whole_s: float | None) -> list[float]:
    """Return block times that add up to the time of the whole model.

    Blocks timed alone include call overhead, at most the shortest one's time: up to that is
    subtracted from each. The rest is scaled in proportion.

    Parameters
    ----------
    blocks_s
        Seconds of each block, timed alone.
    whole_s
        Seconds of the unsplit model; None for no correction.

    Examples
    --------
    >>> [round(seconds, 3) for seconds in corrected([1.1, 2.1, 0.1], 3.0)]
    [1.0, 2.0, 0.0]
    >>> corrected([1.0, 2.0], 6.0)
    [2.0, 4.0]
    """
    if not whole_s or not blocks_s:
        return list(blocks_s)
    excess = max(0.0, sum(blocks_s) - whole_s)
    call_s = min(excess / len(blocks_s), min(blocks_s))
    pure = [seconds - call_s for seconds in blocks_s]
    scale = whole_s / sum(pure) if sum(pure) else 0.0
    return [seconds * scale for seconds in pure]


def running_total(blocks_s: Sequence[float]) -> list[float]:
    """Return the seconds of the first 0, 1, … all blocks."""
    return [0.0, *accumulate(blocks_s)]
