"""Follow a unit on a host and show one live line about it.

Each poll renews the lease (without it the sweep stops, so a killed controller leaves nothing
running), reads the progress file, and asks systemd, or our own unit folder, for the unit's state. A
failed connection is retried for `patience_s`; a failed guard, one of the sweep's shaped hosts, ends
it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

# Ansible does not put the checkout on sys.path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from paretopipe_runtime.contract.units import duration
from roles.job.clock import ending
from roles.netem.shaping.guard import Guards

display = Display()
# Looked at on import, by the main process: workers are detached from the terminal.
ON_TERMINAL = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
COLUMNS = shutil.get_terminal_size().columns
POLL_S = 2.0
# Without a terminal: seconds between lines.
QUIET_S = 60.0
MARK = "==paretopipe=="


@dataclass(frozen=True)
class Snapshot:
    progress: Mapping[str, Any] = field(default_factory=dict)
    unit: Mapping[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def running(self) -> bool:
        return self.unit.get("ActiveState") in {"active", "activating", "deactivating", "reloading"}

    @property
    def exit_status(self) -> int:
        """0 also for a unit that ended well and was forgotten."""
        return int(self.unit.get("ExecMainStatus") or 0)


def poll_command(unit: str, lease: str, progress: str, folder: str = "") -> str:
    """Return a poll's shell line: unit before files, lest its last line be missed.

    `folder` is our own unit's; without it systemd is asked. Without `lease` none is renewed.
    """
    ask, last_word = _ours(folder, unit) if folder else _systemd(unit)
    lease, progress = map(shlex.quote, (lease, progress))
    steps = (
        f"touch {lease}" if lease != "''" else "true",
        ask,
        f"echo {MARK}",
        f"cat {progress} 2>/dev/null",
        f"echo; echo {MARK}",
        last_word,
        "true",
    )
    return "; ".join(steps)


def _systemd(unit: str) -> tuple[str, str]:
    """Return shell commands for a unit's state and, once failed, its last log line.

    systemd's own messages lack the invocation, so its last line is the sweep's. No colour or
    pager: Ansible may hold a terminal there.
    """
    unit, show = shlex.quote(unit), "systemctl show --property"
    return (
        "export SYSTEMD_COLORS=0 SYSTEMD_PAGER=cat; "
        f"{show}=ActiveState,Result,ExecMainStatus {unit}",
        f"systemctl is-failed --quiet {unit} && journalctl --quiet --output=cat --lines=1 "
        f"_SYSTEMD_INVOCATION_ID=$({show}=InvocationID --value {unit})",
    )


def _ours(folder: str, unit: str) -> tuple[str, str]:
    """Return the same for a unit of paretopipe_runtime/unit.py, without Python.

    It has failed if its supervisor did not write the file: in a process's stat the 20th word
    after the name is its start, the first its state.
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
    """Parse `poll_command`'s output; missing progress is empty."""
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
    """Return the live line, without unknown figures; the label last, where a terminal cuts.

    `later_s`: estimated seconds of later jobs, scaled by the error so far.
    """
    if not progress:
        return f"[{label}] starting"
    parts = [
        f"{progress.get('runs_done', 0)}/{progress.get('runs_total', '?')} "
        f"{progress.get('noun', 'runs')}",
        *(f"{progress[bad]} {bad}" for bad in ("failed", "invalid") if progress.get(bad)),
    ]
    if progress.get("finished"):
        nothing = progress.get("runs_total") == 0
        return f"[{label}] {'nothing left to measure' if nothing else ', '.join(parts)}"
    if progress.get("left_s") is not None:
        later = {"ratio": 1.0, "spread": 0.0, **progress.get("later", {})}
        later_s *= later["ratio"]
        deviation_s = progress.get("left_sd_s", 0.0) + later["spread"] * later_s
        what = "everything " if later_s else ""
        parts += [what + ending(progress["left_s"] + later_s, deviation_s, now)]
    if progress.get("current"):
        parts += [f"now {progress['current']}"]
    return f"{', '.join(parts)} [{label}]"


def verdict(snapshot: Snapshot, job: str = "sweep") -> str:
    """Return why an ended unit did not complete its job, or ``""``."""
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
    """A line rewritten on a terminal, else printed now and then."""

    def __init__(self, on_terminal: bool, columns: int = COLUMNS) -> None:
        self.on_terminal, self.columns = on_terminal, columns
        self.shown_at = time.monotonic()
        self.width = 0

    def show(self, text: str, last: bool = False) -> None:
        now = time.monotonic()
        if self.on_terminal:
            # A folded line could not be rewritten.
            shown = text if last else text[: self.columns - 1]
            padded, self.width = shown.ljust(self.width), 0 if last else len(shown)
            display.display(f"\r{padded}", newline=last, screen_only=True)
            if last:
                display.display(text, log_only=True)
        elif last or now - self.shown_at >= QUIET_S:
            self.shown_at = now
            display.display(text)

    def close(self) -> None:
        """End a line that was not the last."""
        if self.width:
            display.display("", screen_only=True)


class ActionModule(ActionBase):  # type: ignore[misc]
    """``follow_job: {unit, lease, progress, label, …}``; see tasks/run.yml."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Follow until the unit ends; return its last progress, or fail with its error.

        `doubtful_since` is by the orchestrator's clock.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        with contextlib.closing(Screen(ON_TERMINAL)) as screen:
            return {**result, **self._follow(screen)}

    def _follow(self, screen: Screen) -> dict[str, Any]:
        args = self._task.args
        command = poll_command(
            args["unit"], args["lease"], args["progress"], args.get("folder") or ""
        )
        patience, later_s = float(args.get("patience_s", 300)), float(args.get("later_s", 0))
        heard = time.monotonic()
        controller = os.getppid()
        guards, noted = Guards(args.get("guards") or ()), ""
        while not (problem := guards.problem()):
            # Ansible's worker outlives a killed controller; the lease must not.
            if os.getppid() != controller:
                os._exit(1)
            started = time.monotonic()
            snapshot = self._poll(command)
            if snapshot is not None:
                heard = time.monotonic()
                note = str(snapshot.progress.get("note", ""))
                if note != noted:
                    noted = note
                    screen.show(f"{note} [{args['label']}]", last=True)
                text = line(args["label"], snapshot.progress, later_s)
                screen.show(text, last=not snapshot.running)
                if not snapshot.running:
                    break
            elif time.monotonic() - heard > patience:
                raise AnsibleActionFail(
                    f"the orchestrator did not answer for {duration(patience)} ({self._silent}); "
                    "its job stops by itself — mend the connection and run the same command again"
                )
            time.sleep(max(0.1, POLL_S - (time.monotonic() - started)))
        if problem := problem or guards.confirm():
            words = f"{problem} — run the same command again to measure the rest"
            return {"failed": True, "msg": words, **self._in_doubt(guards)}
        problem = verdict(snapshot, args.get("job", "sweep"))
        outcome = {"changed": True, "progress": dict(snapshot.progress), "summary": text}
        return {**outcome, **({"failed": True, "msg": problem} if problem else {})}

    def _in_doubt(self, guards: Guards) -> dict[str, Any]:
        try:
            now = self._low_level_execute_command("date +%s", sudoable=False)["stdout"].split()
        except AnsibleConnectionFailure:
            now = []
        return {"doubtful_since": int(now[-1]) - math.ceil(guards.doubtful_s())} if now else {}

    def _poll(self, command: str) -> Snapshot | None:
        try:
            done = self._low_level_execute_command(command, sudoable=True)
        except AnsibleConnectionFailure as error:
            self._silent = " ".join(str(error).split())
            return None
        snapshot = parse(done["stdout"])
        self._silent = " ".join(done["stderr"].split()) or "it said nothing"
        return snapshot if snapshot.unit else None
