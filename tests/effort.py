"""How much the tests try: what can still fail, or, for `make check-all`, large numbers."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TypeVar

Case = TypeVar("Case")

# Campaigns borrow the suite's own tests in large numbers.
THOROUGH = bool(os.environ.get("THOROUGH", any("campaigns" in word for word in sys.argv[1:])))


def trials(suite: int, thorough: int) -> int:
    """Return how many times to try: few for the suite, many where ``THOROUGH=1`` is set."""
    return thorough if THOROUGH else suite


def some(cases: Sequence[Case], suite: int) -> list[Case]:
    """Return so many of the cases, evenly spread; all where ``THOROUGH=1`` is set."""
    if THOROUGH or suite >= len(cases):
        return list(cases)
    return [cases[number * len(cases) // suite] for number in range(suite)]


def upper_bound(failures: int, trials: int) -> float:
    """Return the exact (Clopper-Pearson) one-sided 95 % upper bound of the failure rate."""
    from scipy.stats import beta  # a second, which most tests do not need

    if not failures:
        return float(1 - 0.05 ** (1 / trials))
    return float(beta.ppf(0.95, failures + 1, trials - failures)) if failures < trials else 1.0


def proved(what: str, failures: int, trials: int) -> str:
    return (
        f"{what:<58} {trials:>9,} trials, {failures} failures: "
        f"at most {100 * upper_bound(failures, trials):.2g} % with 95 % confidence"
    )
