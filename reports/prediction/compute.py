"""Seconds of compute: what each block takes, so that blocks add up to the model in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate


def corrected(blocks_s: Sequence[float], whole_s: float | None) -> list[float]:
    """Return block times whose sum is the time of the whole model.

    Blocks timed one by one cost more together than the model in one piece: each call has its own
    overhead. That overhead is the same for every block and no longer than the shortest of them
    (a flatten or a dropout, which compute next to nothing), so up to that much is taken off each.
    What remains, either way, is spread in proportion: cold caches cost more where more is computed.

    Parameters
    ----------
    blocks_s
        Median seconds of each block, timed alone.
    whole_s
        Median seconds of the unsplit model; None leaves the blocks as they are.

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
    """Return the seconds of the first 0, 1, … all blocks: a stage is one of them less another."""
    return [0.0, *accumulate(blocks_s)]
