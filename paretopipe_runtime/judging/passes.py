"""Second passes of rounds: they count as a whole or not at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable


def incomplete(valid: Iterable[tuple[Hashable, int, str]]) -> set[tuple[Hashable, int]]:
    """Return the passes, each with its round, that lack a run which an earlier pass has.

    Splits are compared within a round: runs of two passes would mix two states of the machine.

    Parameters
    ----------
    valid : iterable
        Round, pass and run key of each valid run.
    """
    keys: dict[Hashable, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for round_, number, key in valid:
        keys[round_][number].add(key)
    return {
        (round_, number)
        for round_, passes in keys.items()
        for number, seen in passes.items()
        if not set().union(*(passes[n] for n in passes if n < number)) <= seen
    }
