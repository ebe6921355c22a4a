"""Minimax regret (Savage, 1951): splits of least worst loss, over scenarios or objectives.

Loss is relative to the best split of the same cell: latency / best - 1, best / throughput - 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paretopipe_runtime.contract.splits import Cuts


def minimax_regret(
    points: Mapping[str, Mapping[Cuts, float]], lower_is_better: bool
) -> tuple[Cuts, float, str]:
    """Return the split of least worst loss over all scenarios, that loss, and its scenario.

    Only splits measured in every scenario compete; ties go to the earliest cut, the first scenario.

    Raises
    ------
    ValueError
        If no split has a value in every scenario.

    Examples
    --------
    >>> near, far = {(1,): 1.0, (2,): 1.1}, {(1,): 3.0, (2,): 2.0}
    >>> minimax_regret({"near": near, "far": far}, lower_is_better=True)
    ((2,), 0.10000000000000009, 'near')
    """
    losses = {scenario: _losses(values, lower_is_better) for scenario, values in points.items()}
    if not losses or not (common := set.intersection(*(set(lost) for lost in losses.values()))):
        raise ValueError("minimax_regret() needs a split that was measured in every scenario")
    worst = {
        cuts: max((lost[cuts], -place) for place, lost in enumerate(losses.values()))
        for cuts in sorted(common)
    }
    cuts = min(worst, key=lambda cuts: (worst[cuts][0], cuts))
    loss, place = worst[cuts]
    return cuts, loss, [*losses][-place]


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
