"""How much the tests try: what can still fail for the suite, large numbers for `make check-all`."""

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
