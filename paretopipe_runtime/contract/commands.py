"""Command lines that measure again what a plan describes, from the options it was asked with."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from paretopipe_runtime.contract import models
from paretopipe_runtime.contract.factors import OF_CELL, OF_WORKER

_SAFE = re.compile(r"[A-Za-z0-9_.,:+-]+")
_FIRST = (
    *("experiment", "model", "sweep", "scenarios", "pairings"),
    *(factor.option for factor in OF_CELL if not factor.of_hosts),
    "splits",
    "codec",
)
# Not set by -e, but by experiment or inventory.
_NOT_TYPED = {factor.option for factor in OF_WORKER}
# Without effect on profiles.
_NOT_PROFILED = {
    *("scenarios", "splits", "repeats", "end_points", "sentinel", "drift_limit"),
    *("refine", "profile", "dominance", "accuracy_margin", "goal"),
    *("strategy", "budget", "audit", "within"),
}


def stated(plan: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return the options that a plan document was asked with, none if it does not say."""
    provenance = plan.get("provenance") or {}
    options = provenance.get("options")
    if not options:
        return {}
    # The experiment sets values that have no option of their own.
    own = {key: provenance[key] for key in ("experiment",) if key in provenance}
    return {**own, "model": model, **options}


def to_profile(plan: Mapping[str, Any], model: str, variant: Mapping[str, Any]) -> str:
    """Return the command that profiles a cell's model and hosts; `variant` has its factors."""
    options = stated(plan, model) or {"model": model}
    for factor in OF_CELL:
        value = variant[factor.option]
        unsaid = not options.get(factor.option) and value != factor.default
        if factor.computes and not factor.of_hosts and unsaid:
            options[factor.option] = value
    kept = {key: value for key, value in options.items() if key not in _NOT_PROFILED}
    return command(kept, "profile.yml", variant["emulation"])


def command(
    options: Mapping[str, Any], playbook: str = "full_sweep.yml", emulation: str = ""
) -> str:
    """Return a POSIX shell command line.

    >>> command({"model": "vgg16", "splits": [[3], [9]], "repeats": 5})
    'ansible-playbook playbooks/full_sweep.yml -e model=vgg16 -e splits=3,9 -e repeats=5'
    >>> command({"model": "a b"})
    'ansible-playbook playbooks/full_sweep.yml -e \\'{"model": "a b"}\\''
    """
    typed = {key: value for key, value in options.items() if key not in _NOT_TYPED}
    allocators = options.get("allocator")
    if isinstance(allocators, Mapping) and len(set(allocators.values())) == 1:
        typed["allocator"] = next(iter(allocators.values()))
    if any(name.startswith("rpc") for name in _value(typed.get("backend", "")).split(",")):
        typed["allow_insecure_rpc"] = "true"
    if "model" in typed:
        typed["model"] = ",".join(map(models.typed, _value(typed["model"]).split(",")))
    known = [key for key in _FIRST if key in typed]
    inventory = ["-i", f"inventory/{emulation}"] if _SAFE.fullmatch(emulation) else []
    words = ["ansible-playbook", *inventory, f"playbooks/{playbook}"]
    ordered = [*known, *sorted(typed.keys() - set(known))]
    for word in written({key: typed[key] for key in ordered}):
        words += ["-e", word]
    return shlex.join(words)


def written(options: Mapping[str, Any]) -> list[str]:
    """Return what ``-e`` takes of each option.

    >>> written({"repeats": 3, "pairings": {"chain": ["a", "b", "c"]}})
    ['repeats=3', '{"pairings": {"chain": ["a", "b", "c"]}}']
    """
    words = []
    for key, value in options.items():
        said = value if isinstance(value, Mapping) else _value(value)
        # Ansible splits key=value at blanks and quotes; JSON is exact.
        plain = _SAFE.fullmatch(key) and isinstance(said, str) and _SAFE.fullmatch(said)
        words.append(f"{key}={said}" if plain else json.dumps({key: said}))
    return words


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join("-".join(map(str, v)) if isinstance(v, list) else str(v) for v in value)
    return str(value)
