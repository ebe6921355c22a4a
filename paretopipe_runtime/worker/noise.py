"""A machine's own scatter: how far the same work differs when it is timed again.

The work is a convolution of 58 million operations, about 10 ms on a Raspberry Pi 4, on one thread.
Like a stage's process it is pinned nowhere: the unit's sandbox forbids that. It goes on without a
pause for so many seconds after a tenth of them to warm up.

Scatter is the plain standard deviation of natural logarithms, about a coefficient of variation;
disturbances count, as runs meet them as well. What disturbs a machine lasts for seconds, so that
sums scatter more than independent pieces would: `scatter` is that of ten sums of equally many
pieces, a second each of the usual ten, about as long as a phase of a run. From ten sums it is
known to a quarter at best.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

SUMS = 10


def measure(seconds: float) -> dict[str, Any]:
    """Time the work for so many seconds on one thread, of torch's for as long as this process."""
    torch.set_num_threads(1)
    image, kernels = torch.rand(1, 32, 56, 56), torch.rand(32, 32, 3, 3)

    def work() -> None:
        torch.nn.functional.conv2d(image, kernels, padding=1)

    with torch.inference_mode():
        _timed(work, seconds / SUMS)
        return figures(_timed(work, seconds))


def figures(pieces_s: Sequence[float]) -> dict[str, Any]:
    """Return number, median and scatter of consecutive pieces, mean and scatter of their sums."""
    each = len(pieces_s) // SUMS
    sums_s = [sum(pieces_s[number * each :][:each]) for number in range(SUMS)]
    return {
        "pieces": len(pieces_s),
        "piece_s": statistics.median(pieces_s),
        "piece_scatter": _scatter(pieces_s),
        "sum_s": statistics.fmean(sums_s),
        "scatter": _scatter(sums_s),
    }


def _timed(work: Callable[[], None], seconds: float) -> list[float]:
    """Return the seconds of each piece, gaps between them included; at least one per sum."""
    stamps = [time.perf_counter()]
    while stamps[-1] < stamps[0] + seconds or len(stamps) <= SUMS:
        work()
        stamps.append(time.perf_counter())
    return [end - start for start, end in itertools.pairwise(stamps)]


def _scatter(times_s: Sequence[float]) -> float:
    return statistics.stdev(map(math.log, times_s))


if __name__ == "__main__":
    print(json.dumps(measure(float(sys.argv[1]))))
