"""One record of a profile to be made: what it measures, and how. Data in, data out."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from paretopipe_runtime.contract.lines import canonical
from paretopipe_runtime.contract.plan import Plan
from paretopipe_runtime.wire.connect import Keys

Member = TypeVar("Member")


@dataclass(frozen=True)
class Sample:
    """A fresh launch on one worker, or on a link one for each size of payload.

    `split` is what the progress line calls it, by a run's word. `measure` takes the nodes' key and
    a name for the launch, runs in a process of its own and returns the record's measured part,
    `status` included. `about` is what the record says whatever comes of it. `guess_s` is how long
    it may take; the first samples correct it.
    """

    split: str
    repeat: int
    factors: dict[str, Any]
    measure: Callable[[Keys, str], dict[str, Any]]
    guess_s: float
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """16 hex digits over every factor: the identity of a measurement."""
        return hashlib.sha256(canonical(self.factors)).hexdigest()[:16]


def shuffled(plan: Plan, repeat: int, members: Sequence[Member]) -> list[Member]:
    """Return `members` in the order of one repeat: seeded, so that drift favours none of them."""
    order = list(members)
    seed = f"{plan.seed}|{plan.cell_id}|{repeat}"
    random.Random(seed).shuffle(order)  # nosec B311 # an order that anyone may foretell
    return order
