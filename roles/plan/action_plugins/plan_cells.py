"""Turn ``-e`` options and ``experiments/*.yml`` into a sweep's plans, or fail with a sentence."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from ansible import __version__ as ansible_version
from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

# Ansible loads plugins by path, without the checkout on the import path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from roles.plan.planning.cells import plan_cells
from roles.plan.planning.sets import read_sets, set_name
from roles.plan.planning.values import OPTIONS, OptionError, flag, known, mistyped


def provenance_of(root: Path) -> dict[str, Any]:
    """Return commit, dirty flag and versions of the checkout at `root`."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(  # nosec B607 # wherever the user's git is
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
        folder = Path(args["folder"])
        typed = task_vars or {}
        options = dict(args["defaults"])
        options |= {name: self._templar.template(typed[name]) for name in OPTIONS if name in typed}
        options.pop("preflight", None)  # decides nothing about the cells
        try:
            mistyped(list(load_extra_vars(self._loader)))
            detach = flag("detach", options.pop("detach", False))
            name = str(options.pop("experiment", "full"))
            experiment, scenarios = read_experiment(folder, name)
            weights = set_name({**experiment, **options})
            plan = plan_cells(
                options,
                experiment,
                scenarios,
                {
                    host: {
                        "address": address,
                        "allocator": args["allocators"][host],
                        "device": args["devices"][host],
                        "allow_insecure_rpc": boolean(args["rpc_allowed"][host]),
                    }
                    for host, address in args["addresses"].items()
                },
                {**provenance_of(folder.parent), "experiment": name},
                args["orchestrator"],
                read_sets(folder / "weights", weights),
                str(args.get("emulation", "")),
            )
        except OptionError as error:
            raise AnsibleActionFail(str(error)) from None
        return {**result, **plan, "detach": detach, "changed": False}
