"""Commands to repeat a measurement, from the plans' options."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from paretopipe_runtime.contract.factors import OF_CELL, OF_WORKER
from reports.data.cells import Cell, Cuts

_SAFE = re.compile(r"[A-Za-z0-9_.,:+-]+")
_FIRST = (
    *("experiment", "model", "sweep", "scenarios", "pairings"),
    *(factor.option for factor in OF_CELL if not factor.of_hosts),
    "splits",
)
# Not set by -e, but by experiment or inventory.
_NOT_TYPED = {factor.option for factor in OF_WORKER}
# Without effect on profiles.
_NOT_PROFILED = {
    *("scenarios", "splits", "repeats", "end_points", "sentinel", "drift_limit"),
    *("refine", "profile", "dominance", "goal", "strategy", "budget", "audit", "within"),
}
#: Of a sweep of what is in doubt: one split alone is none.
_DOUBTFUL = {"strategy", "budget", "audit", "within", "sentinel", "drift_limit"}


def commands(cells: Sequence[Cell]) -> list[str]:
    """Return the distinct commands of the plans, in order."""
    found = (
        command(stated, emulation=cell.variant["emulation"])
        for cell in cells
        if (stated := _stated(cell))
    )
    return [*dict.fromkeys(found)]


def of_split(cell: Cell, name: str, cuts: Cuts) -> str:
    """Return the command that measures one split of a cell again, as a sweep of its own."""
    stated = _stated(cell) or {"model": cell.model}
    if stated.get("strategy") == "doubtful":
        stated = {key: value for key, value in stated.items() if key not in _DOUBTFUL}
    options = {**stated, "scenarios": cell.scenario, "pairings": cell.pairing}
    sweep = f"{stated.get('sweep') or cell.model}-{name}"
    return command(
        {**options, "splits": [list(cuts)], "sweep": sweep}, emulation=cell.variant["emulation"]
    )


def to_profile(cell: Cell) -> str:
    """Return the command that profiles a cell's model and hosts."""
    stated = _stated(cell) or {"model": cell.model}
    for factor in OF_CELL:
        value = cell.variant[factor.key]
        unsaid = not stated.get(factor.option) and value != factor.default
        if factor.computes and not factor.of_hosts and unsaid:
            stated[factor.option] = value
    options = {key: value for key, value in stated.items() if key not in _NOT_PROFILED}
    return command(options, "profile.yml", cell.variant["emulation"])


def _stated(cell: Cell) -> dict[str, Any]:
    provenance = cell.plan.get("provenance") or {}
    options = provenance.get("options")
    if not options:
        return {}
    # The experiment sets values that have no option of their own.
    own = {key: provenance[key] for key in ("experiment",) if key in provenance}
    return {**own, "model": cell.model, **options}


def command(
    options: Mapping[str, Any], playbook: str = "full_sweep.yml", emulation: str = ""
) -> str:
    """Return a POSIX shell command line.

    >>> command({"model": "vgg16", "splits": [[3], [9]], "repeats": 5})
    'ansible-playbook playbooks/full_sweep.yml -e model=vgg16 -e splits=3,9 -e repeats=5'
    >>> command({"model": "a b"})
    'ansible-playbook playbooks/full_sweep.yml -e \\'{"model": "a b"}\\''
    """
    typed = {key: _value(value) for key, value in options.items() if key not in _NOT_TYPED}
    allocators = options.get("allocator")
    if isinstance(allocators, Mapping) and len(set(allocators.values())) == 1:
        typed["allocator"] = _value(next(iter(allocators.values())))
    if any(name.startswith("rpc") for name in typed.get("backend", "").split(",")):
        typed["allow_insecure_rpc"] = "true"
    known = [key for key in _FIRST if key in typed]
    inventory = ["-i", f"inventory/{emulation}"] if _SAFE.fullmatch(emulation) else []
    words = ["ansible-playbook", *inventory, f"playbooks/{playbook}"]
    for key in [*known, *sorted(typed.keys() - set(known))]:
        # Ansible splits key=value at blanks and quotes; JSON is exact.
        plain = _SAFE.fullmatch(key) and _SAFE.fullmatch(typed[key])
        words += ["-e", f"{key}={typed[key]}" if plain else json.dumps({key: typed[key]})]
    return shlex.join(words)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join("-".join(map(str, v)) if isinstance(v, list) else str(v) for v in value)
    return str(value)
