"""Turn what the user typed into the list of cells to measure, or into one sentence.

Runs on the controller before anything slow. It reads ``experiments/*.yml``, applies the ``-e``
options (all of them strings), checks every name and number against what is known, and returns the
cells grouped by scenario, so that a sweep sets the network once per scenario.
"""

from __future__ import annotations

import difflib
import itertools
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible import __version__ as ansible_version
from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

OPTIONS = (
    "model",
    "scenarios",
    "pairings",
    "backend",
    "engine",
    "allocator",
    "batch",
    "image",
    "classes",
    "repeats",
    "splits",
    "sweep",
    "experiment",
)
BACKENDS = ("socket", "rpc", "rpc_hub")
ENGINES = ("eager", "channels_last", "onnxruntime", "compile")
ALLOCATORS = ("tuned", "default")
CLASSES = (10, 1000)
PORT = 47470


class OptionError(ValueError):
    """What the user typed cannot be measured; the message is one sentence saying what can."""


def listed(value: Any) -> list[str]:
    """Return ``"a,b"`` or ``["a", "b"]`` as ``["a", "b"]``, without doubles."""
    words = value.split(",") if isinstance(value, str) else list(value)
    return list(dict.fromkeys(str(word).strip() for word in words if str(word).strip()))


def known(kind: str, names: Sequence[str], choices: Sequence[str]) -> list[str]:
    """Return `names` when each is among `choices`, else say which are."""
    for name in names:
        if name not in choices:
            raise OptionError(f"unknown {kind} '{name}': choose from {', '.join(choices)}")
    if not names:
        raise OptionError(f"no {kind} given: choose from {', '.join(choices)}")
    return list(names)


def whole(name: str, value: Any) -> int:
    """Return `value` as a positive whole number."""
    if not re.fullmatch(r"[0-9]{1,9}", str(value)) or int(value) < 1:
        raise OptionError(f"{name}={value} is not a positive whole number: write e.g. {name}=5")
    return int(value)


def cut_points(splits: Any, model: str, blocks: int, stages: int) -> str | list[list[int]]:
    """Return ``"all"`` or a list of cut points; ``3-9`` is one split into three stages."""
    words = listed(splits)
    if words == ["all"]:
        return "all"
    cuts = []
    for word in words:
        if not re.fullmatch(r"[0-9]+(-[0-9]+)*", word):
            raise OptionError(f"splits={word} is not a split: write splits=all or splits=1,14,29")
        cut = [int(part) for part in word.split("-")]
        if len(cut) != stages - 1:
            raise OptionError(
                f"split {word} makes {len(cut) + 1} stages, the pairing has {stages} workers: "
                f"write {stages - 1} block number(s) joined by '-'"
            )
        if not all(1 <= point < blocks for point in cut) or cut != sorted(set(cut)):
            raise OptionError(
                f"split {word} is out of range: {model} has {blocks} blocks, "
                f"so splits run from 1 to {blocks - 1}"
            )
        cuts.append(cut)
    if not cuts:
        raise OptionError("splits is empty: write splits=all or splits=1,14,29")
    return cuts


def mistyped(names: Sequence[str]) -> None:
    """Refuse an ``-e`` name that is all but one of ours: Ansible would ignore it in silence."""
    for name in names:
        close = difflib.get_close_matches(name, OPTIONS, n=1, cutoff=0.8)
        if name not in OPTIONS and close:
            raise OptionError(f"unknown option '{name}': did you mean {close[0]}=…?")


def refuse_without_leave(host: str, allowed: bool) -> None:
    """Refuse PyTorch RPC on a host whose inventory does not allow it."""
    if not allowed:
        raise OptionError(
            f"backend rpc is off on {host}: PyTorch RPC has no authentication, so any host that "
            "reaches the experiment network could run code there. If only your own hosts do, add "
            "-e allow_insecure_rpc=true, or set it in the inventory"
        )


def plan_cells(
    options: Mapping[str, Any],
    experiment: Mapping[str, Any],
    models: Mapping[str, Any],
    scenarios: Mapping[str, Any],
    hosts: Mapping[str, Mapping[str, Any]],
    provenance: Mapping[str, Any],
    orchestrator: str = "",
) -> dict[str, Any]:
    """Return the sweep: its name, its effective options and its cells grouped by scenario.

    Parameters
    ----------
    options : mapping
        What the user typed with ``-e``; anything absent comes from `experiment`.
    experiment, models, scenarios : mapping
        The parsed files of ``experiments/``.
    hosts : mapping
        What the inventory says of every worker: ``address`` on the experiment network,
        ``allocator``, ``allow_insecure_rpc``.
    provenance : mapping
        Commit and controller versions, copied into every plan.
    orchestrator : str
        The host that drives the runs; with backend ``rpc_hub`` every tensor goes through it.

    Raises
    ------
    OptionError
        With one sentence, when a name is unknown or a number out of range.
    """
    chosen = {**experiment, **options}
    if "model" not in chosen:
        raise OptionError(f"no model given: choose with -e model=… from {', '.join(models)}")
    model = known("model", [str(chosen["model"])], list(models))[0]
    facts = models[model]
    # An experiment's image size is meant for its own model: 32 px is too small for others.
    own = chosen if "image" in options or model == experiment.get("model") else facts
    image = whole("image", own.get("image", facts["image"]))
    classes = whole("classes", chosen.get("classes", facts["classes"]))
    if classes not in CLASSES:
        raise OptionError(f"classes={classes} is not offered: choose 10 or 1000")
    sweep = str(chosen.get("sweep", model))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", sweep):
        raise OptionError(f"sweep={sweep} cannot name a folder: use letters, digits, '-' and '_'")

    pairings: Mapping[str, list[str]] = experiment["pairings"]
    wanted_pairings = known("pairing", listed(chosen["pairings"]), list(pairings))
    wanted_scenarios = known("scenario", listed(chosen["scenarios"]), list(scenarios))
    wanted_backends = known("backend", listed(chosen["backend"]), BACKENDS)
    wanted_engines = known("engine", listed(chosen.get("engine", "eager")), ENGINES)
    for host, facts_of_host in hosts.items():
        if any(b.startswith("rpc") for b in wanted_backends):
            refuse_without_leave(host, bool(facts_of_host["allow_insecure_rpc"]))
    allocators = {
        host: known("allocator", [str(options.get("allocator", facts["allocator"]))], ALLOCATORS)[0]
        for host, facts in hosts.items()
    }
    counts = ("repeats", "warmup_batches", "latency_batches", "throughput_batches", "window")
    common = {
        "schema_version": 1,
        "model": model,
        "classes": classes,
        "image_px": image,
        "batch_size": whole("batch", chosen["batch"]),
        **{name: whole(name, chosen[name]) for name in counts},
        **{name: int(chosen[name]) for name in ("seed", "weights_seed")},
    }
    effective = {
        **{name: common[name] for name in ("model", "classes", "repeats")},
        "batch": common["batch_size"],
        "image": image,
        "scenarios": wanted_scenarios,
        "pairings": wanted_pairings,
        "backend": wanted_backends,
        "engine": wanted_engines,
        "allocator": allocators,
        "splits": chosen["splits"],
        "sweep": sweep,
    }

    def worker(host: str) -> dict[str, Any]:
        address = hosts[host]["address"]
        return {"host": host, "address": address, "port": PORT, "allocator": allocators[host]}

    def hub() -> dict[str, Any]:
        if orchestrator not in hosts:
            raise OptionError(
                f"backend rpc_hub needs an agent on the orchestrator's host '{orchestrator}', "
                f"which is no worker in this inventory: workers are {', '.join(hosts)}"
            )
        return worker(orchestrator)

    def plan(scenario: str, pairing: str, backend: str, engine: str) -> dict[str, Any]:
        chain = pairings[pairing]
        for host in chain:
            if host not in hosts:
                raise OptionError(
                    f"pairing {pairing} needs host '{host}', which is no worker in this inventory: "
                    f"workers are {', '.join(hosts)}"
                )
        names = [model, backend, pairing, scenario]
        # What is the default does not lengthen the name.
        names += [engine] if engine != "eager" else []
        names += ["default_malloc"] if any(allocators[h] == "default" for h in chain) else []
        return {
            **common,
            "cell_id": ".".join(names),
            "backend": backend,
            "engine": engine,
            "pairing": pairing,
            "scenario": {
                "name": scenario,
                "netem": conditions(scenarios[scenario]),
                "measured": None,
            },
            "workers": [worker(host) for host in chain],
            **({"hub": hub()} if backend == "rpc_hub" else {}),
            "splits": cut_points(chosen["splits"], model, facts["blocks"], len(chain)),
            "provenance": {**provenance, "options": effective},
        }

    numbers = itertools.count(1)
    variants = list(itertools.product(wanted_pairings, wanted_engines, wanted_backends))
    total = len(wanted_scenarios) * len(variants)
    groups = [
        {
            "name": scenario,
            "netem": conditions(scenarios[scenario]),
            "cells": [
                {
                    "label": f"cell {next(numbers)}/{total} {model} {backend}"
                    f"{'' if engine == 'eager' else ' ' + engine} {pairing} {scenario}",
                    "plan": plan(scenario, pairing, backend, engine),
                }
                for pairing, engine, backend in variants
            ],
        }
        for scenario in wanted_scenarios
    ]
    return {"sweep": sweep, "options": effective, "scenarios": groups}


def conditions(netem: Mapping[str, str] | None) -> dict[str, str] | None:
    """Return a scenario's netem values with the unsaid ones spelled out."""
    if netem is None:
        return None
    spelled = {"delay": "0ms", "rate": "", "jitter": "0ms", "loss": "0%", "direction": "egress"}
    return {**spelled, **netem}


def provenance_of(root: Path) -> dict[str, Any]:
    """Return the commit of the checkout at `root`, whether it is dirty, and our versions."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    return {
        "commit": git("rev-parse", "HEAD") or "unknown",
        "dirty": git("status", "--porcelain") != "",
        "controller": {"ansible": ansible_version, "python": platform.python_version()},
    }


def read_experiment(folder: Path, name: str) -> tuple[dict[str, Any], ...]:
    """Return the experiment called `name`, the models and the scenarios kept in `folder`."""
    fixed = {"models", "scenarios"}
    experiments = sorted(path.stem for path in folder.glob("*.yml") if path.stem not in fixed)
    known("experiment", [name], experiments)
    return tuple(
        yaml.safe_load((folder / f"{stem}.yml").read_text(encoding="utf-8"))
        for stem in (name, "models", "scenarios")
    )


class ActionModule(ActionBase):  # type: ignore[misc]
    """``plan_cells: {folder, options, addresses, …}``, as playbooks/tasks/plan.yml gives them."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Return ``sweep``, ``options`` and ``scenarios``, or fail with the sentence."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self._task.args
        folder = Path(args["folder"])
        options = dict(args["options"])
        try:
            mistyped(list(load_extra_vars(self._loader)))
            experiment, models, scenarios = read_experiment(
                folder, str(options.pop("experiment", "full"))
            )
            plan = plan_cells(
                options,
                experiment,
                models,
                scenarios,
                {
                    host: {
                        "address": address,
                        "allocator": args["allocators"][host],
                        "allow_insecure_rpc": boolean(args["rpc_allowed"][host]),
                    }
                    for host, address in args["addresses"].items()
                },
                provenance_of(folder.parent),
                args["orchestrator"],
            )
        except OptionError as error:
            raise AnsibleActionFail(str(error)) from None
        return {**result, **plan, "changed": False}
