"""Limit of how far a round's sentinels lie apart: what runs scatter by, in the other rounds.

Not in its own, so that a drift does not widen the limit that it is judged by. Sizes of differences
only, never which run is fast or slow: no split and no direction is favoured.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable, Mapping
from statistics import median

#: Limit in robust standard deviations of the difference between two runs of one split.
DEVIATIONS = 3.0
_NORMAL = 1.4826  # standard deviation over median absolute deviation, if normal
_FEWEST = 5  # differences needed to estimate the scatter
_ENOUGH = 20  # and to do so without the judged round

Logs = tuple[float, ...]


def limits(
    rounds: Mapping[int, Mapping[Hashable, Logs]],
    judged: Iterable[int],
    floor: float,
    prior_cv: float = 0.0,
) -> dict[int, tuple[float, ...]]:
    """Return the limit of each judged round, by figure: a ratio - 1, at least `floor`.

    Parameters
    ----------
    rounds : mapping
        Natural logarithms of latency and throughput by round and run.
    judged : iterable of int
        Numbers of rounds, also of others than `rounds`.
    floor : float
        A ratio - 1.
    prior_cv : float
        What a run is expected to scatter by, for as long as too few differences tell.
    """
    pairs = {
        pair: _apart(rounds[pair[0]], rounds[pair[1]]) for pair in itertools.combinations(rounds, 2)
    }

    def scatter(number: int) -> tuple[float, ...]:
        others = [found for pair, found in pairs.items() if number not in pair]
        for some, fewest in ((others, _ENOUGH), (pairs.values(), _FEWEST)):
            far = [both for found in some for both in found]
            if len(far) >= fewest:
                return tuple(_NORMAL * median(values) for values in zip(*far, strict=True))
        return (math.sqrt(2) * prior_cv,) * 2

    return {
        number: tuple(max(floor, math.expm1(DEVIATIONS * s)) for s in scatter(number))
        for number in judged
    }


def _apart(one: Mapping[Hashable, Logs], other: Mapping[Hashable, Logs]) -> list[Logs]:
    """Return how far the differences of common runs are from their median, the rounds' own."""
    common = one.keys() & other.keys()
    if len(common) < 2:
        return []
    few = len(common) / (len(common) - 0.8)
    by_figure = []
    for place in (0, 1):
        differences = [one[run][place] - other[run][place] for run in common]
        middle = median(differences)
        by_figure.append([few * abs(difference - middle) for difference in differences])
    return [*zip(*by_figure, strict=True)]
