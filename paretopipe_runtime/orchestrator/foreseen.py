"""Runs that a doubtful plan may yet choose, for estimates before it chooses them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

from paretopipe_runtime.contract.plan import Plan, cap
from paretopipe_runtime.contract.splits import Cuts
from paretopipe_runtime.orchestrator.runs import Run, run_of, shuffled


def foreseen(
    plan: Plan, hop_bytes: Callable[[Cuts], list[int]], have: int, after: int = 0
) -> list[Run]:
    """Return stand-ins for splits' runs up to the cap, spread evenly over all splits.

    `have` runs are chosen already. The stand-ins' rounds are numbered on from `after`.
    """
    runs: list[Run] = []
    splits = sorted(plan.splits)
    left = max(0, cap(plan) - have)
    for repeat in itertools.count(after + 1):
        some = min(left - len(runs), len(splits))
        if not some:
            break
        members = [splits[place * len(splits) // some] for place in range(some)]
        for cuts in shuffled(plan.seed, plan.cell_id, repeat, members):
            runs.append(run_of(plan, hop_bytes, cuts, repeat, len(runs)))
    return runs


def in_time(
    plan: Plan, runs: Sequence[Run], split_s: Mapping[str, float], spent_s: float
) -> list[Run]:
    """Return the first runs that the plan's time allows, if limited; `split_s` is by split name."""
    if plan.doubtful is None or plan.doubtful.within_s is None:
        return [*runs]
    left_s = plan.doubtful.within_s - spent_s
    ends_s = itertools.accumulate(split_s[run.split] for run in runs)
    return [run for run, end_s in zip(runs, ends_s, strict=True) if end_s <= left_s]
