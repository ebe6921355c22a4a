"""The commands that measure the same again, from the options that the plans state."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from reports.data.cells import Cell

_SAFE = re.compile(r"[A-Za-z0-9_.,:+-]+")
_FIRST = ("experiment", "model", "sweep", "scenarios", "pairings", "backend", "engine", "splits")
# What no -e option sets: the playbook would take it from its experiment or from the inventory.
_NOT_TYPED = {"allocator"}


def commands(cells: Sequence[Cell]) -> list[str]:
    """Return a command for each different set of options among the plans, in their order."""
    found: dict[str, None] = {}
    for cell in cells:
        stated = cell.plan.get("provenance") or {}
        if options := stated.get("options"):
            # What has no option of its own, such as the batches of a run, is the experiment's.
            own = {"experiment": stated["experiment"]} if "experiment" in stated else {}
            found[command({**own, "model": cell.model, **options})] = None
    return [*found]


def command(options: Mapping[str, Any]) -> str:
    """Return one command line for a POSIX shell.

    Examples
    --------
    >>> command({"model": "vgg16", "splits": [[3], [9]], "repeats": 5})
    'ansible-playbook playbooks/full_sweep.yml -e model=vgg16 -e splits=3,9 -e repeats=5'
    >>> command({"model": "a b"})
    'ansible-playbook playbooks/full_sweep.yml -e \\'{"model": "a b"}\\''
    """
    told = {key: _value(value) for key, value in options.items() if key not in _NOT_TYPED}
    allocators = options.get("allocator")
    if isinstance(allocators, Mapping) and len(set(allocators.values())) == 1:
        told["allocator"] = _value(next(iter(allocators.values())))
    if any(name.startswith("rpc") for name in told.get("backend", "").split(",")):
        told["allow_insecure_rpc"] = "true"
    known = [key for key in _FIRST if key in told]
    words = ["ansible-playbook", "playbooks/full_sweep.yml"]
    for key in [*known, *sorted(told.keys() - set(known))]:
        # Ansible splits key=value at blanks and quotes; JSON says exactly what is meant.
        plain = _SAFE.fullmatch(key) and _SAFE.fullmatch(told[key])
        words += ["-e", f"{key}={told[key]}" if plain else json.dumps({key: told[key]})]
    return shlex.join(words)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join("-".join(map(str, v)) if isinstance(v, list) else str(v) for v in value)
    return str(value)
