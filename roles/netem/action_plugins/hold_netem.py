"""Renew a shaped host's lease while this ansible-playbook lives.

The first renewal is made at once, to report mistakes; a background process goes on and notes the
state in a file (shaping/guard.py). It ends with ansible-playbook's main process, on release, or
when the shaping is lost.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

# Ansible does not put the checkout on sys.path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from roles.netem.shaping.guard import RENEWALS, Guard, State

#: Seconds between checks for a release.
LOOK_S = 0.2
LOST = (
    "its timer or its qdisc is gone, or is another one's: did it reboot, or did someone run "
    "playbooks/reset.yml or netem.yml?"
)


def watch(pid: int) -> Callable[[], bool]:
    """Return a check that a process lives, for callers that are not its parent."""
    if not hasattr(os, "pidfd_open"):  # not Linux

        def answers() -> bool:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return False
            return True

        return answers
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return lambda: False
    # Not by PID: a zombie would still answer.
    return lambda: not select.select([descriptor], [], [], 0)[0]


def keep(guard: Guard, lives: Callable[[], bool], renew: Callable[[], str], good_at: float) -> None:
    """Renew until released, lost, or the controller is dead.

    Removing the guard's folder releases the host. `renew` returns ``held``, ``lost`` or an
    error; `good_at` is when the latest good renewal began.
    """
    every_s = guard.lease_s / RENEWALS
    tried_at = good_at
    while lives() and guard.file.exists():
        if time.monotonic() - tried_at < every_s and not guard.wish.exists():
            time.sleep(LOOK_S)
            continue
        guard.wish.unlink(missing_ok=True)
        tried_at = time.monotonic()
        said = renew()
        if said == "held":
            good_at = tried_at
        state = State(good_at, LOST if said == "lost" else "", "" if said == "held" else said)
        try:
            state.write(guard.file)
        except FileNotFoundError:  # released meanwhile
            return
        if state.lost:
            return
    shutil.rmtree(guard.file.parent, ignore_errors=True)


class ActionModule(ActionBase):  # type: ignore[misc]
    """``hold_netem: {host, renew, lease_s}``, or ``{release: guards}`` to end."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self._task.args
        if "release" in args:
            for values in args["release"]:
                shutil.rmtree(Guard.of(values).file.parent, ignore_errors=True)
            return {**result, "changed": False}
        began = time.monotonic()
        said = self._renew(args["renew"])
        if said != "held":
            raise AnsibleActionFail(
                f"the lease on {args['host']}'s shaping cannot be renewed: "
                f"{LOST if said == 'lost' else said}"
            )
        # Private, because its content is trusted.
        folder = Path(tempfile.mkdtemp(prefix="paretopipe-netem-"))
        guard = Guard(args["host"], folder / "state.json", float(args["lease_s"]))
        State(began).write(guard.file)
        # The worker's parent, even if just ended.
        main = multiprocessing.parent_process()
        lives = watch((main and main.pid) or os.getppid())
        if os.fork() == 0:
            try:
                keep(guard, lives, lambda: self._renew(args["renew"]), began)
            finally:
                os._exit(0)
        described = {"host": guard.host, "file": str(guard.file), "lease_s": int(guard.lease_s)}
        return {**result, "changed": False, "guard": described}

    def _renew(self, command: str) -> str:
        try:
            done = self._low_level_execute_command(command, sudoable=True)
        except (AnsibleError, OSError) as error:
            return " ".join(str(error).split())
        words = (done["stdout"] or done["stderr"] or "no answer").split()
        return words[-1] if words[-1] in ("held", "lost") else " ".join(words)
