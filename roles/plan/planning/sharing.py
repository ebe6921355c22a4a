"""Share a sweep's time among its cells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paretopipe_runtime.contract.plan import FEWEST, read_plan
from paretopipe_runtime.contract.units import duration

from .foretelling import profile_seconds, split_seconds
from .speeds import Speeds
from .values import OptionError


def share_time(planned: Mapping[str, Any], speeds: Speeds, results: Path) -> None:
    """Give each cell's plan its part of ``planned["within_s"]``.

    What profiles take is taken off first, if it can be foretold. The cells share the rest by the
    time of one run of each of their splits, or by the number of these if that cannot be foretold.

    Raises
    ------
    OptionError
        If that is too little for a new sweep's profiles and a few runs of each cell.
    """
    plans = [cell["plan"] for scenario in planned["scenarios"] for cell in scenario["cells"]]
    told = [[*split_seconds(plan, speeds).values()] for plan in plans]
    profiles = [profile_seconds(one["plan"], speeds) for one in planned["profiles"]]
    profiles_s = 0.0 if None in profiles else sum(seconds for seconds in profiles if seconds)
    left_s = planned["within_s"] - profiles_s
    if all(told):
        parts = [sum(seconds) for seconds in told]
        least_s = FEWEST * sum(map(min, told))
        begun = any((results / planned["sweep"] / f"{p['cell_id']}.jsonl").exists() for p in plans)
        if left_s < least_s and not begun:
            within, least = planned["options"]["within"], duration(profiles_s + least_s)
            raise OptionError(
                f"within={within} is too little: profiles and {FEWEST} quick runs "
                f"of each cell alone take about {least}, so give it more, or ask for fewer cells"
            )
    else:
        parts = [len(read_plan(plan).splits) for plan in plans]
    for plan, part in zip(plans, parts, strict=True):
        plan["doubtful"]["within_s"] = round(max(1.0, left_s * part / sum(parts)), 1)
