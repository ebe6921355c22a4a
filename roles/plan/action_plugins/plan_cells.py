"""Turn ``-e`` options and ``experiments/*.yml`` into a sweep's plans, or fail with a sentence."""

from __future__ import annotations

import contextlib
import functools
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible import __version__ as ansible_version
from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

# Ansible loads plugins by path, without the checkout on the import path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from roles.plan.planning.cells import plan_cells
from roles.plan.planning.earlier import profiles
from roles.plan.planning.foretelling import Foretold, foretell, split_seconds
from roles.plan.planning.listings import keep
from roles.plan.planning.models import model_names
from roles.plan.planning.onnx_files import brought, digests
from roles.plan.planning.places import BOARDS, EMULATED, Places
from roles.plan.planning.sets import read_sets, set_name
from roles.plan.planning.sharing import share_time
from roles.plan.planning.shorter import refuse_long, said
from roles.plan.planning.speeds import Speeds
from roles.plan.planning.values import OPTIONS, OptionError, flag, known, text

#: Plan a sweep with some options changed.
Plan = Callable[[Mapping[str, Any]], dict[str, Any]]


def provenance_of(root: Path) -> dict[str, Any]:
    """Return commit, dirty flag and versions of the checkout at `root`."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(  # nosec B607 # wherever the user's git is
                ["git", "-C", str(root), *arguments],
                capture_output=True,
                errors="replace",
                timeout=30,
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
    """Return the experiment and the scenarios."""
    experiments = sorted({path.stem for path in folder.glob("*.yml")} - {"scenarios"})
    known("experiment", [name], experiments)
    return tuple(
        yaml.safe_load((folder / f"{stem}.yml").read_text(encoding="utf-8"))
        for stem in (name, "scenarios")
    )


class ActionModule(ActionBase):  # type: ignore[misc]
    """``plan_cells: {folder, defaults, addresses, …}``, as tasks/cells.yml gives them."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self._task.args
        typed = task_vars or {}
        options = dict(args["defaults"])
        options |= {name: self._templar.template(typed[name]) for name in OPTIONS if name in typed}
        options.pop("preflight", None)  # decides nothing about the cells
        try:
            long = flag("long", options.pop("long", False))
            detach = flag("detach", options.pop("detach", False))
            speeds = functools.cache(self._speeds)
            plan = self._planner(options, speeds)
            planned = plan({})
            if boolean(args["foretell"]):
                planned["said"] = self._foretell(planned, plan, speeds(), long)
        except OptionError as error:
            raise AnsibleActionFail(str(error)) from None
        return {**result, **planned, "detach": detach, "changed": False}

    def _planner(self, options: dict[str, Any], speeds: Callable[[], Speeds]) -> Plan:
        """Return what plans the sweep of these options and of what is put over them."""
        args = self._task.args
        folder = Path(args["folder"])
        name = text("experiment", options.pop("experiment", "full"))
        experiment, scenarios = read_experiment(folder, name)
        chosen = {**experiment, **options}
        weights = set_name(chosen)
        # Without a model planning says which there are.
        if "model" in chosen and not boolean(args.get("again", False)):
            names = model_names(chosen)
            keep(folder / "models", names, chosen.get("classes"), digests(chosen["model"]))
        hosts = {
            host: {
                "address": address,
                "allocator": args["allocators"][host],
                "device": args["devices"][host],
                "allow_insecure_rpc": boolean(args["rpc_allowed"][host]),
            }
            for host, address in args["addresses"].items()
        }
        told = (
            {**provenance_of(folder.parent), "experiment": name},
            args["orchestrator"],
            read_sets(folder / "weights", weights),
            str(args.get("emulation", "")),
            Places(args["inventory"], args["pairings"], args["senders"]),
        )

        files = brought(chosen.get("model", ""))

        def plan(more: Mapping[str, Any]) -> dict[str, Any]:
            planned = plan_cells({**options, **more}, experiment, scenarios, hosts, *told)
            planned["files"] = files
            if planned["within_s"] is not None and not planned["untraced"]:
                share_time(planned, speeds(), folder / "results")
            return planned

        return plan

    def _speeds(self) -> Speeds:
        """Return what is known of the hosts' speeds before any of them is asked."""
        args = self._task.args
        places, workers = Places(args["inventory"]), [*args["addresses"]]
        real = not any(places.groups.get(name) for name in EMULATED)
        boards = places.members(workers, args["orchestrator"])[BOARDS]
        return Speeds(profiles(Path(args["folder"]) / "results"), boards if real else None)

    def _foretell(self, planned: dict[str, Any], plan: Plan, speeds: Speeds, long: bool) -> str:
        """Return what was left out and how long the rest takes, a line each, or refuse the rest."""
        results = Path(self._task.args["folder"]) / "results"
        if untraced := [found["model"] for found in planned["untraced"]]:
            later = "how long it takes is said once its blocks are found, on the orchestrator"
            return "\n".join([*planned["notes"], f"{', '.join(untraced)}: {later}"])
        told = foretell(planned, speeds, results)

        def shorter(more: Mapping[str, Any]) -> Foretold | None:
            with contextlib.suppress(OptionError):  # it contradicts what was typed
                return foretell(plan(more), speeds, results)
            return None

        if told and not long:
            first = planned["scenarios"][0]["cells"][0]["plan"]
            refuse_long(
                planned["sweep"],
                told,
                planned["options"],
                split_seconds(first, speeds),
                shorter,
            )
        return "\n".join([*planned["notes"], *([said(told)] if told else [])])
