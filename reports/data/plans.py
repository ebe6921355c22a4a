"""What a cell's plan lines say: which one the runs came from, and what it asked to measure."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.splits import Cuts, all_splits
from reports.data.selection import PHASES

_WEIGHTS = "weights_digest"
_MOST = 10_000  # splits of one model; more were never planned, and would not fit in a page


def in_force(proposed: Sequence[Record], factors: Record) -> Record:
    """Return the latest plan that runs with these factors can have come from, else the latest."""
    fits = [
        plan
        for plan in proposed
        if all(factors.get(key, plan[key]) == plan[key] for key in _alike(plan))
        # Seeded weights have no digest in a plan nor in factors: that differs from having one.
        and (not factors or factors.get(_WEIGHTS) == plan.get(_WEIGHTS))
    ]
    return [{}, *proposed, *fits][-1]


def _alike(plan: Record) -> list[str]:
    """Return the settings that a plan states in the same way as the factors of its runs."""
    return [
        key
        for key, value in plan.items()
        if key not in PHASES and not isinstance(value, dict | list)
    ]


def cuts(plan: Record, blocks: int | None) -> tuple[Cuts, ...]:
    """Return the planned splits by their cut points; none where they cannot be known."""
    splits = plan.get("splits")
    if isinstance(splits, list):
        return tuple(sorted({tuple(cuts) for cuts in splits}))
    stages = len(plan.get("workers") or [])
    if splits == "all" and blocks and stages > 1 and comb(blocks - 1, stages - 1) <= _MOST:
        return tuple(all_splits(blocks, stages))
    return ()


def hosts(plan: Record, factors: Record) -> tuple[str, ...]:
    """Return the host of each stage."""
    planned = [worker.get("host") for worker in plan.get("workers") or []]
    return tuple(str(host) for host in factors.get("hosts") or planned)
