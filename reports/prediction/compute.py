"""Seconds of compute per block."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate


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
