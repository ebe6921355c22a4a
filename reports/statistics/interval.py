"""What the range of n runs says about the median: an exact interval, whatever the distribution."""

from __future__ import annotations


def coverage_percent(n: int) -> float:
    """Return how often the lowest and highest of n independent runs enclose the true median.

    Each run lies below the median with probability 1/2, so all n lie on one side of it with
    2 * 2**-n. For 5 runs this is 93.75 %, for 6 runs 96.875 %: exact figures, neither of them
    the customary 95 %.

    Examples
    --------
    >>> coverage_percent(5), coverage_percent(6)
    (93.75, 96.875)
    """
    if n < 1:
        raise ValueError(f"coverage_percent() needs at least one run, not {n}")
    return 100 * (1 - 2.0 ** (1 - n))
