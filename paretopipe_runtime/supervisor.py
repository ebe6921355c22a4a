"""A unit's supervisor: start the command, wait, and record how it ended."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from paretopipe_runtime import forked

MARK = "PARETOPIPE_UNIT"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
#: Seconds from SIGTERM to SIGKILL, before a restart, and of life to be restarted at all.
GRACE_S, RETRY_S, LIVED_S = 10.0, 1.0, 10.0
_SIGNALS = (signal.SIGTERM, signal.SIGCHLD)


@dataclass(frozen=True)
class Command:
    """A command line with its folder and processor.

    `cpu` indexes the allowed processors, -1 is the last. `restart` is for failures, except early
    ones. `of` only enters the digest.
    """

    words: tuple[str, ...]
    cwd: Path
    cpu: int | None = None
    restart: bool = False
    of: str = ""

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), default=str).encode()).hexdigest()


def redirect(log: Path) -> None:
    """Redirect standard input to /dev/null and output to the log."""
    sys.stdout.flush()
    sys.stderr.flush()
    descriptors = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_APPEND)
    for number, descriptor in enumerate((descriptors[0], descriptors[1], descriptors[1])):
        os.dup2(descriptor, number)
    for descriptor in descriptors:
        os.close(descriptor)


def supervise(file: Path, command: Command, mark: str, report: int) -> None:
    """Run `command` until it ends or SIGTERM comes; `report` receives a failure to start.

    All its descendants, marked in their environment, end with it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    while True:
        began = time.monotonic()
        try:
            child = _launch(command, mark)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.write(report, f"{error.strerror}: {error.filename}".encode())
            _write(file, command, mark, "failed", "exec", 203)
            return
        _write(file, command, mark, "active", "success", 0)
        if report >= 0:
            os.close(report)
            report = -1
        stopped = _wait(child)
        end_marked(mark)
        code = child.returncode
        again = command.restart and time.monotonic() - began >= LIVED_S
        if stopped or code == 0 or not again:
            break
        if signal.sigtimedwait({signal.SIGTERM}, RETRY_S):
            stopped = True
            break
    if stopped or code == 0:
        _write(file, command, mark, "inactive", "success", 0)
    elif code > 0:
        _write(file, command, mark, "failed", "exit-code", code)
    else:
        _write(file, command, mark, "failed", "signal", -code)


def born(pid: int) -> str | None:
    """Return a process's start in clock ticks since boot."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def end_marked(mark: str) -> None:
    """Kill all processes with the mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    while mark:
        alive = [path for path in Path("/proc").glob("[0-9]*/environ") if _has(path, wanted)]
        for path in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(path.parent.name), signal.SIGKILL)
        if not alive:
            return
        time.sleep(0.01)


def _has(environ: Path, wanted: bytes) -> bool:
    try:
        return wanted in environ.read_bytes().split(b"\0")
    except OSError:  # another user's, or ended
        return False


def _launch(command: Command, mark: str) -> subprocess.Popen[bytes]:
    parent = os.getpid()

    def settle() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        forked.die_with(parent)
        if command.cpu is not None:
            allowed = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {allowed[command.cpu % len(allowed)]})

    return subprocess.Popen(
        command.words,
        cwd=command.cwd,
        env={**os.environ, MARK: mark},
        start_new_session=True,
        preexec_fn=settle,  # safe without threads
    )


def _wait(child: subprocess.Popen[bytes]) -> bool:
    """Wait for the child, ending it on SIGTERM; return whether that came."""
    stopped, deadline = False, 0.0
    while child.poll() is None:
        told = signal.sigtimedwait(_SIGNALS, GRACE_S)
        if told and told.si_signo == signal.SIGTERM and not stopped:
            stopped, deadline = True, time.monotonic() + GRACE_S
            os.killpg(child.pid, signal.SIGTERM)
        if stopped and time.monotonic() > deadline:
            os.killpg(child.pid, signal.SIGKILL)
    return stopped


def _write(file: Path, command: Command, mark: str, state: str, result: str, status: int) -> None:
    words = {
        "ActiveState": state,
        "Result": result,
        "ExecMainStatus": status,
        "Pid": os.getpid(),
        "Started": born(os.getpid()),
        "Boot": BOOT_ID.read_text().strip(),
        "Mark": mark,
        "Order": command.digest,
    }
    scratch = file.with_suffix(".new")
    scratch.write_text("".join(f"{key}={value}\n" for key, value in words.items()))
    scratch.replace(file)
