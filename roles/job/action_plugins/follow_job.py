"""Follow a unit on a host and show one live line about it.

Every two seconds, over the connection Ansible already holds: renew the lease (without it the sweep
stops by itself, so a killed controller leaves nothing running), read the progress file, ask systemd
how the unit is, or the folder that paretopipe's own units are in where hosts are processes. A
connection that fails is tried again until `patience_s` is over. `guards` are the shaped hosts that
the sweep relies on: it is given up when one is no longer what it should be.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Ansible loads a plugin by its path and puts no folder of the checkout on that of imports.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from roles.job.clock import duration, ending
from roles.netem.shaping.guard import Guards

display = Display()
# Ansible's workers are detached from the terminal; the main process, which imports this, is not.
ON_TERMINAL = sys.stdout.isatty()
POLL_S = 2.0
# Off a terminal a line is shown this often, and at each of so many steps of the way.
QUIET_S = 15.0
STEPS = 10
MARK = "==paretopipe=="


@dataclass(frozen=True)
class Snapshot:
    """What one poll saw: the progress, the unit's state, its last word."""

    progress: Mapping[str, Any] = field(default_factory=dict)
    unit: Mapping[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def running(self) -> bool:
        """Whether systemd still has the unit's process, or is about to start or reap it."""
        return self.unit.get("ActiveState") in {"active", "activating", "deactivating", "reloading"}

    @property
    def exit_status(self) -> int:
        """The process's exit status; systemd forgets a unit that ended well, which is 0."""
        return int(self.unit.get("ExecMainStatus") or 0)


def poll_command(unit: str, lease: str, progress: str, folder: str = "") -> str:
    """Return the shell line of a poll: the unit before its files, so its last word is not missed.

    `folder` is that of a unit of ours; without one it is systemd's.
    """
    ask, last_word = _ours(folder, unit) if folder else _systemd(unit)
    lease, progress = map(shlex.quote, (lease, progress))
    steps = (
        f"touch {lease}",
        ask,
        f"echo {MARK}",
        f"cat {progress} 2>/dev/null",
        f"echo; echo {MARK}",
        last_word,
        "true",
    )
    return "; ".join(steps)


def _systemd(unit: str) -> tuple[str, str]:
    """Return how to ask after a unit of systemd's and, once it has failed, for its last word.

    systemd's own messages about a unit do not carry its invocation, so the journal's last line of
    that invocation is the sweep's own. Ansible may hold a terminal there: systemd would colour its
    words and start a pager.
    """
    unit, show = shlex.quote(unit), "systemctl show --property"
    return (
        "export SYSTEMD_COLORS=0 SYSTEMD_PAGER=cat; "
        f"{show}=ActiveState,Result,ExecMainStatus {unit}",
        f"systemctl is-failed --quiet {unit} && journalctl --quiet --output=cat --lines=1 "
        f"_SYSTEMD_INVOCATION_ID=$({show}=InvocationID --value {unit})",
    )


def _ours(folder: str, unit: str) -> tuple[str, str]:
    """Return the same for a unit of paretopipe_runtime/unit.py, without starting Python for it.

    One whose supervisor is not the process that wrote the file has failed, whatever the file says:
    the 20th word after the name in a process's stat is when it started, the first one its state.
    """
    file, log = (shlex.quote(f"{folder}/{unit}.{kind}") for kind in ("unit", "log"))
    return (
        "ActiveState=inactive Result=success ExecMainStatus=0 boot= stat=; "
        f"[ -r {file} ] && . {file}; if [ $ActiveState = active ]; then "
        "read -r boot </proc/sys/kernel/random/boot_id; "
        "[ -r /proc/$Pid/stat ] && read -r stat </proc/$Pid/stat; set -- ${stat##*) }; "
        '[ "$1" != Z ] && [ "$boot ${20}" = "$Boot $Started" ] || '
        "{ ActiveState=failed; Result=supervisor; }; fi; "
        "for word in ActiveState=$ActiveState Result=$Result ExecMainStatus=$ExecMainStatus; "
        "do echo $word; done",
        f"[ $ActiveState = failed ] && tail -n 1 {log}",
    )


def parse(output: str) -> Snapshot:
    """Return what `poll_command` printed; a progress file not yet there is an empty one."""
    unit, progress, error = ([*output.split(MARK), "", ""])[:3]
    try:
        values = json.loads(progress)
    except ValueError:
        values = {}
    pairs = (line.partition("=") for line in unit.split("\n") if "=" in line)
    return Snapshot(
        progress=values if isinstance(values, dict) else {},
        unit={key.strip(): value.strip() for key, _, value in pairs},
        error=error.strip(),
    )


def line(
    label: str, progress: Mapping[str, Any], later_s: float = 0.0, now: float | None = None
) -> str:
    """Return the live line; a figure that is not known yet is left out.

    A job that does not measure counts something else than runs, and none of it can fail. `later_s`
    are the seconds that the jobs after it should take: as far off as those so far have been.
    """
    if not progress:
        return f"[{label}] starting"
    noun = progress.get("noun", "runs")
    parts = [f"{progress.get('runs_done', 0)}/{progress.get('runs_total', '?')} {noun}"]
    if noun == "runs":
        parts += [f"{progress.get('failed', 0)} failed"]
    if progress.get("invalid"):
        parts += [f"{progress['invalid']} invalid"]
    if progress.get("left_s") is not None and not progress.get("finished"):
        later = {"ratio": 1.0, "spread": 0.0, **progress.get("later", {})}
        later_s *= later["ratio"]
        deviation_s = progress.get("left_sd_s", 0.0) + later["spread"] * later_s
        then = " with the cells after it" if later_s else ""
        parts += [ending(progress["left_s"] + later_s, deviation_s, now) + then]
    if progress.get("current") and not progress.get("finished"):
        parts += [f"now {progress['current']}"]
    return f"[{label}] " + ", ".join(parts)


def verdict(snapshot: Snapshot, job: str = "sweep") -> str:
    """Return why a unit that ended did not complete its job, or ``""`` when it did."""
    progress, status = snapshot.progress, snapshot.exit_status
    if status == 0 and snapshot.unit.get("Result", "success") == "success":
        if progress.get("finished"):
            return ""
        return f"the {job} was stopped from outside before it was done — run the same command again"
    if snapshot.error:
        return snapshot.error
    if status == 75:
        return f"the {job} lost its controller and stopped — run the same command again to resume"
    how = f"{snapshot.unit.get('Result', 'failed')}, status {status}"
    return f"the {job} ended without a word ({how}) — run the same command again to resume"


class Screen:
    """Show progress: one line rewritten on a terminal, now and then a line anywhere else."""

    def __init__(self, on_terminal: bool) -> None:
        self.on_terminal = on_terminal
        self.shown_at = float("-inf")
        self.shown_step = 0
        self.width = 0

    def show(self, text: str, progress: Mapping[str, Any], last: bool = False) -> None:
        """Show `text` if it is time to."""
        now = time.monotonic()
        step = STEPS * progress.get("runs_done", 0) // (progress.get("runs_total") or 1)
        if self.on_terminal:
            padded = text.ljust(self.width)
            self.width = len(text)
            display.display(f"\r{padded}", newline=last, screen_only=not last)
            return
        if last or now - self.shown_at >= QUIET_S or step > self.shown_step:
            self.shown_at, self.shown_step = now, step
            display.display(text)


class ActionModule(ActionBase):  # type: ignore[misc]
    """``follow_job: {unit, lease, progress, label, …}``, as tasks/run.yml gives them."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Follow until the unit ends; return its last progress, or fail with its own error.

        Where a guard fails it, `doubtful_since` says from when on the network is in doubt, on the
        orchestrator's clock as records have it.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = self._task.args
        command = poll_command(
            args["unit"], args["lease"], args["progress"], args.get("folder") or ""
        )
        screen = Screen(ON_TERMINAL)
        patience, later_s = float(args.get("patience_s", 300)), float(args.get("later_s", 0))
        heard = time.monotonic()
        controller = os.getppid()
        guards = Guards(args.get("guards") or ())
        while not (problem := guards.problem()):
            # A worker of Ansible's outlives a controller that is killed; the lease must not.
            if os.getppid() != controller:
                os._exit(1)
            started = time.monotonic()
            snapshot = self._poll(command)
            if snapshot is not None:
                heard = time.monotonic()
                text = line(args["label"], snapshot.progress, later_s)
                screen.show(text, snapshot.progress, last=not snapshot.running)
                if not snapshot.running:
                    break
            elif time.monotonic() - heard > patience:
                raise AnsibleActionFail(
                    f"the orchestrator did not answer for {duration(patience)}; its job stops by "
                    "itself — mend the connection and run the same command again"
                )
            time.sleep(max(0.1, POLL_S - (time.monotonic() - started)))
        if problem := problem or guards.confirm():
            words = f"{problem} — run the same command again to measure the rest"
            return {**result, "failed": True, "msg": words, **self._in_doubt(guards)}
        problem = verdict(snapshot, args.get("job", "sweep"))
        outcome = {"changed": True, "progress": dict(snapshot.progress), "summary": text}
        return {**result, **outcome, **({"failed": True, "msg": problem} if problem else {})}

    def _in_doubt(self, guards: Guards) -> dict[str, Any]:
        try:
            now = self._low_level_execute_command("date +%s", sudoable=False)["stdout"].split()
        except AnsibleConnectionFailure:
            now = []
        return {"doubtful_since": int(now[-1]) - math.ceil(guards.doubtful_s())} if now else {}

    def _poll(self, command: str) -> Snapshot | None:
        try:
            done = self._low_level_execute_command(command, sudoable=True)
        except AnsibleConnectionFailure:
            return None
        snapshot = parse(done["stdout"])
        return snapshot if snapshot.unit else None
