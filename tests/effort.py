"""How much the tests try: what can still fail for the suite, large numbers for `make check-all`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

Case = TypeVar("Case")

THOROUGH = bool(os.environ.get("THOROUGH"))


def trials(suite: int, thorough: int) -> int:
    """Return how many times to try: few for the suite, many where ``THOROUGH=1`` is set."""
    return thorough if THOROUGH else suite


def some(cases: Sequence[Case], suite: int) -> list[Case]:
    """Return so many of the cases, evenly spread; all where ``THOROUGH=1`` is set."""
    if THOROUGH or suite >= len(cases):
        return list(cases)
    return [cases[number * len(cases) // suite] for number in range(suite)]
