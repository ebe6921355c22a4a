"""Minimax regret (Savage, 1951): the split of least worst loss over objectives.

Loss is relative to the best: latency / best - 1, best / throughput - 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paretopipe_runtime.contract.splits import Cuts


def balanced(
    points: Mapping[Cuts, tuple[float, ...]], lower_is_better: Sequence[bool]
) -> tuple[Cuts, float]:
    """Return the split of least worst loss over all objectives, and that loss.

    Ties go to the earliest cut.

    Raises
    ------
    ValueError
        Without a split.

    Examples
    --------
    >>> balanced({(1,): (1.0, 5.0), (2,): (1.1, 9.0), (3,): (2.0, 9.9)}, [True, False])
    ((2,), 0.10000000000000009)
    """
    if not points:
        raise ValueError("balanced() needs a measured split")
    losses = [
        _losses({cuts: point[place] for cuts, point in points.items()}, lower)
        for place, lower in enumerate(lower_is_better)
    ]
    loss, cuts = min((max(lost[cuts] for lost in losses), cuts) for cuts in points)
    return cuts, loss


def _losses(values: Mapping[Cuts, float], lower_is_better: bool) -> dict[Cuts, float]:
    if lower_is_better:
        best = min(values.values(), default=0.0)
        return {cuts: value / best - 1 for cuts, value in values.items()}
    best = max(values.values(), default=0.0)
    return {cuts: best / value - 1 for cuts, value in values.items()}
