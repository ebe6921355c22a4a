"""The strict Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np


def front(points: Sequence[Sequence[float]], maximise: Sequence[bool]) -> list[bool]:
    """Mark the non-dominated points; equal points alike.

    >>> front([(1.0, 5.0), (2.0, 9.0), (2.0, 8.0)], maximise=[False, True])
    [True, True, False]
    """
    if not points:
        return []
    if any(len(point) != len(maximise) for point in points):
        raise ValueError(f"front() needs points of {len(maximise)} numbers")
    known = np.array(points, float)
    if not np.isfinite(known).all():
        raise ValueError("front() needs finite numbers")
    keep = moocore.is_nondominated(known, maximise=[*maximise], keep_weakly=True)
    return [bool(kept) for kept in keep]
