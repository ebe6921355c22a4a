"""Second passes of rounds: they count as a whole or not at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

Run = TypeVar("Run")


def whole(valid: Sequence[Run], place: Callable[[Run], tuple[Hashable, int, str]]) -> list[Run]:
    """Return the runs whose pass of the round lacks none that an earlier pass has.

    Splits are compared within a round: runs of two passes would mix two states of the machine.

    Parameters
    ----------
    valid : sequence
        Valid runs.
    place : callable
        A run's round, pass and key.
    """
    keys: dict[Hashable, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for round_, number, key in map(place, valid):
        keys[round_][number].add(key)
    partial = {
        (round_, number)
        for round_, passes in keys.items()
        for number, seen in passes.items()
        if not set().union(*(passes[n] for n in passes if n < number)) <= seen
    }
    return [run for run in valid if place(run)[:2] not in partial]
