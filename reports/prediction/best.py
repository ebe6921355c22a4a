"""Best splits over ranges of round-trip time or rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from paretopipe_runtime.prediction.predictor import Predictor
from reports.data.cells import Cuts
from reports.objectives import LATENCY, THROUGHPUT, Objective

PREDICTED = (LATENCY, THROUGHPUT)
Range = tuple[float, float, Cuts]
_CLOSE = 1.001  # precision of borders
_STRIDE = 3  # grid steps at once while the best split stays


def best(
    predictor: Predictor, rtt_ms: float, rate_mbit: float | None, objective: Objective
) -> Cuts:
    """Return the split with the lowest latency or highest throughput (ties: the first)."""
    if objective == LATENCY:
        return min(predictor.splits, key=lambda cuts: predictor.latency_s(cuts, rtt_ms, rate_mbit))
    return max(
        predictor.splits, key=lambda cuts: predictor.throughput_img_s(cuts, rtt_ms, rate_mbit)
    )


def best_by_rtt(
    predictor: Predictor, rate_mbit: float | None, rtts_ms: Sequence[float], objective: Objective
) -> list[Range]:
    """Return ranges of round-trip time, in ms, with their best split.

    Parameters
    ----------
    rtts_ms
        Ascending, bisected at borders; a split that is best for less than three steps may be
        missed.
    """
    return _ranges(rtts_ms, lambda rtt_ms: best(predictor, rtt_ms, rate_mbit, objective))


def best_by_rate(
    predictor: Predictor, rtt_ms: float, rates_mbit: Sequence[float], objective: Objective
) -> list[Range]:
    """Return ranges of rate, in Mbit/s, with their best split."""
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
    """Yield steps with the best split at their end, long ones where it stays."""
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
