"""Say how far a detached sweep is."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible does not put the checkout on sys.path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from roles.job.action_plugins.follow_job import Snapshot, line, parse, poll_command, verdict
from roles.sweep.action_plugins.collect_records import fetched

NONE = (
    "no detached sweep is known here: playbooks/full_sweep.yml starts one with -e detach=true, and "
    "follows one without it"
)
ENDED = "it ended before it was done: was it stopped, or the orchestrator rebooted?"


def said(told: Mapping[str, Any], seen: Snapshot) -> tuple[list[str], str]:
    """Return lines about a sweep, and what went wrong, or ``""``."""
    began = time.strftime("%a %H:%M", time.localtime(told["began"]))
    failures = [f"{where}: {why}" for where, why in told["failures"].items()]
    how_far = f"{told['done']} of {told['visits']} cells and profiles done"
    head = f"sweep {told['sweep']}, since {began}: {how_far}"
    if told["finished"]:
        return [f"{head}, it is over"], "; ".join(failures)
    if not seen.running:
        why = "; ".join([*failures, verdict(seen) or ENDED])
        return [f"{head}, and it is not running any more"], why
    now = line(told["now"], seen.progress, told["later_s"]) if told["now"] else "it is ending"
    note = [str(seen.progress["note"])] if seen.progress.get("note") else []
    return [head, now, *note, *(f"failed so far: {failure}" for failure in failures)], ""


class ActionModule(ActionBase):  # type: ignore[misc]
    """``see_sweep: {unit, folder, told}``; returns sweep, cells, report, problem."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self._task.args
        progress = f"{args['told'].removesuffix('.json')}.progress.json"

        def shell(command: str) -> dict[str, Any]:
            return dict(self._low_level_execute_command(command, in_data=b"\n", sudoable=True))

        # The unit before the file, lest its last word be missed.
        seen = parse(shell(poll_command(args["unit"], "", progress, args["folder"]))["stdout"])
        content = fetched(shell, args["told"])
        if content is None:
            raise AnsibleActionFail(NONE)
        told = json.loads(content)
        lines, problem = said(told, seen)
        # They become paths on this machine.
        names = {"sweep": Path(told["sweep"]).name, "cells": [Path(c).name for c in told["cells"]]}
        shown = {"msg": "\n".join(lines), "changed": False, "_ansible_verbose_always": True}
        return {**result, **names, "report": told["report"], "problem": problem, **shown}
