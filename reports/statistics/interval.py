"""Distribution-free confidence of the range of n runs."""

from __future__ import annotations


def coverage_percent(n: int) -> float:
    """Return the probability, in percent, that the range of n runs includes the true median.

    Each run is below it with probability 1/2, so all n are on one side with 2 * 2**-n.

    >>> coverage_percent(5), coverage_percent(6)
    (93.75, 96.875)
    """
    if n < 1:
        raise ValueError(f"coverage_percent() needs at least one run, not {n}")
    return 100 * (1 - 2.0 ** (1 - n))
