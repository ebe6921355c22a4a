"""Where to split as the network changes: ranges of round-trip time or rate with one best split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from reports.data.cells import Cuts
from reports.objectives import LATENCY, THROUGHPUT, Objective
from reports.prediction.predictor import Prediction, Predictor

PREDICTED = (LATENCY, THROUGHPUT)
Range = tuple[float, float, Cuts]
_CLOSE = 1.001  # borders are found to a thousandth
_ROUNDING = 1 + 1e-9  # more than sums of seconds in another order can differ by
_STRIDE = 3  # steps of the grid taken at once: one by one only where the best split changes


def best(
    predictor: Predictor, rtt_ms: float, rate_mbit: float | None, objective: Objective
) -> Cuts:
    """Return the split with the lowest latency or the highest throughput (ties: the first)."""
    if objective == LATENCY:
        return min(predictor.splits, key=lambda cuts: predictor.latency_s(cuts, rtt_ms, rate_mbit))
    # Batch by batch only while another split can still be better: usually one or two of them.
    bounds = [
        (predictor.at_most_img_s(cuts, rtt_ms, rate_mbit), place, cuts)
        for place, cuts in enumerate(predictor.splits)
    ]
    found: list[tuple[float, int, Cuts]] = []  # negative, so that of equal ones the first is least
    for bound, place, cuts in sorted(bounds, reverse=True):
        if found and bound * _ROUNDING < -min(found)[0]:
            break
        found.append((-predictor.throughput_img_s(cuts, rtt_ms, rate_mbit), place, cuts))
    return min(found)[2]


def balanced(predictions: Sequence[tuple[Cuts, Prediction]]) -> Cuts:
    """Return the split that loses least in whatever it loses most, against the best of each.

    Its loss is how many times slower it is than the fastest, or how many times less it moves than
    the busiest, whichever is more.
    """
    fastest = min(prediction.latency_s for _, prediction in predictions)
    busiest = max(prediction.throughput_img_s for _, prediction in predictions)

    def loss(pair: tuple[Cuts, Prediction]) -> float:
        return max(pair[1].latency_s / fastest, busiest / pair[1].throughput_img_s)

    return min(predictions, key=loss)[0]


def best_by_rtt(
    predictor: Predictor, rate_mbit: float | None, rtts_ms: Sequence[float], objective: Objective
) -> list[Range]:
    """Return ranges of round-trip time, in ms, with the best split in each, at a fixed rate.

    Parameters
    ----------
    rtts_ms
        A fine grid, ascending; where two neighbours disagree the border is bisected. A split
        that is best for less than three steps, between two ranges of another, can be missed.
    """
    return _ranges(rtts_ms, lambda rtt_ms: best(predictor, rtt_ms, rate_mbit, objective))


def best_by_rate(
    predictor: Predictor, rtt_ms: float, rates_mbit: Sequence[float], objective: Objective
) -> list[Range]:
    """Return ranges of rate, in Mbit/s, with the best split in each, at a fixed round-trip time."""
    return _ranges(rates_mbit, lambda rate_mbit: best(predictor, rtt_ms, rate_mbit, objective))


def _ranges(grid: Sequence[float], choose: Callable[[float], Cuts]) -> list[Range]:
    starts = [(grid[0], choose(grid[0]))]
    for left, right, last in _steps(grid, choose):
        while starts[-1][1] != last:
            low, high = max(left, starts[-1][0]), right
            while high > low * _CLOSE:
                middle = (low * high) ** 0.5
                if choose(middle) == starts[-1][1]:
                    low = middle
                else:
                    high = middle
            starts.append((high, choose(high)))
    ends = [*(start for start, _ in starts[1:]), grid[-1]]
    return [(start, end, cuts) for (start, cuts), end in zip(starts, ends, strict=True)]


def _steps(
    grid: Sequence[float], choose: Callable[[float], Cuts]
) -> Iterator[tuple[float, float, Cuts]]:
    """Yield steps with what is best at their end: long ones where both ends agree."""
    coarse = [*range(0, len(grid) - 1, _STRIDE), len(grid) - 1]
    before = choose(grid[0])
    for low, high in pairwise(coarse):
        best_there = choose(grid[high])
        if best_there == before:
            yield grid[low], grid[high], best_there
        else:
            for place in range(low, high - 1):
                yield grid[place], grid[place + 1], choose(grid[place + 1])
            yield grid[high - 1], grid[high], best_there
        before = best_there
