"""Derive a planned sweep's demands on the hosts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .findings import Asked, Load
from .sizes import cached_mib


def asked_of(planned: Mapping[str, Any], orchestrator: str, named: bool) -> Asked:
    """Return the demands of a sweep planned by plan_cells.

    Every worker holds the whole model at least once, for estimate and end points; the orchestrator
    does for the reference predictions. Caches are shared between scenarios.
    """
    plans = [cell["plan"] for group in planned["scenarios"] for cell in group["cells"]]
    loads: dict[str, dict[Load, None]] = {}
    kept: dict[str, dict[tuple[str, int], int]] = {}
    for plan in plans:
        size = (plan["model"], plan["batch_size"], plan["image_px"])
        for position, worker in enumerate(plan["workers"]):
            load = Load(*size, plan["engine"], worker["allocator"])
            loads.setdefault(worker["host"], {})[load] = None
            stage = (plan["model"], min(position, 1))
            if mib := cached_mib(plan, position):
                kept.setdefault(worker["host"], {})[stage] = mib
        loads.setdefault(orchestrator, {})[Load(*size, "eager", "default")] = None
    return Asked(
        {host: tuple(some) for host, some in loads.items()},
        {host: sum(stages.values()) for host, stages in kept.items()},
        tuple(dict.fromkeys(plan["backend"] for plan in plans)),
        any(group["netem"] for group in planned["scenarios"]),
        named,
    )
