"""Share a sweep's time among its cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paretopipe_runtime.contract.plan import FEWEST, read_plan
from paretopipe_runtime.contract.units import duration

from .doubt import CHAIN_RUNS
from .earlier import done
from .foretelling import profile_seconds, split_seconds
from .speeds import Speeds
from .values import OptionError


def share_time(planned: Mapping[str, Any], speeds: Speeds, results: Path) -> None:
    """Give each cell's plan its part of ``planned["within_s"]``.

    What profiles take is taken off first, if it can be foretold. The cells share the rest by the
    time of one run of each of their splits, or by the number of these if that cannot be foretold.
    What a cell of `results` has taken beyond its part, the others lack.

    Raises
    ------
    OptionError
        If that is too little for a new sweep's profiles and a few runs of each cell.
    """
    plans = [cell["plan"] for scenario in planned["scenarios"] for cell in scenario["cells"]]
    paths = [results / planned["sweep"] / f"{plan['cell_id']}.jsonl" for plan in plans]
    told = [[*split_seconds(plan, speeds).values()] for plan in plans]
    profiles = [profile_seconds(one["plan"], speeds) for one in planned["profiles"]]
    profiles_s = 0.0 if None in profiles else sum(seconds for seconds in profiles if seconds)
    left_s = planned["within_s"] - profiles_s
    if all(told):
        parts = [sum(seconds) * _part(plan) for seconds, plan in zip(told, plans, strict=True)]
        least_s = FEWEST * sum(map(min, told))
        if left_s < least_s and not any(path.exists() for path in paths):
            within, least = planned["options"]["within"], duration(profiles_s + least_s)
            raise OptionError(
                f"within={within} is too little: profiles and {FEWEST} quick runs "
                f"of each cell alone take about {least}, so give it more, or ask for fewer cells"
            )
    else:
        parts = [len(read_plan(plan).splits) * _part(plan) for plan in plans]
    taken = [sum(run.wall_s for run in done(path).values()) for path in paths]
    for plan, own_s in zip(plans, shares(left_s, parts, taken), strict=True):
        plan["doubtful"]["within_s"] = round(max(1.0, own_s), 1)


def _part(document: Mapping[str, Any]) -> float:
    """Return the share of a cell's splits that counts: of more than two hosts few are in doubt."""
    plan = read_plan(dict(document))
    return min(1.0, CHAIN_RUNS / len(plan.splits)) if len(plan.chain.workers) > 2 else 1.0


def shares(total: float, parts: Sequence[float], taken: Sequence[float]) -> list[float]:
    """Return what each gets of a total, by `parts`, where none gets less than it has `taken`."""
    found, left, whole = [0.0] * len(parts), total, sum(parts)
    for at in sorted(range(len(parts)), key=lambda at: -taken[at] / parts[at]):
        found[at] = max(taken[at], left * parts[at] / whole)
        left, whole = left - found[at], whole - parts[at]
    return found
