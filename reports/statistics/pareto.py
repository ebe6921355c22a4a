"""The non-dominated set: nothing else is at least as good in both and better in one."""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np


def front(latency_s: Sequence[float], throughput_img_s: Sequence[float]) -> list[bool]:
    """Mark the points on the strict Pareto front (less latency, more throughput).

    Equal points share their fate: if one is on the front, so is its twin. No points give
    an empty answer. The inputs stay untouched.

    Examples
    --------
    >>> front([1.0, 2.0, 2.0], [5.0, 9.0, 8.0])
    [True, True, False]
    >>> front([], [])
    []
    """
    if len(latency_s) != len(throughput_img_s):
        raise ValueError("front() needs one throughput for each latency")
    if not len(latency_s):
        return []
    points = np.column_stack([np.array(latency_s, float), np.array(throughput_img_s, float)])
    if not np.isfinite(points).all():
        raise ValueError("front() needs finite numbers")
    keep = moocore.is_nondominated(points, maximise=[False, True], keep_weakly=True)
    return [bool(kept) for kept in keep]
