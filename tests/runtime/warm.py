"""Agents forked from one process that has imported PyTorch, which takes a fork server five seconds.

Each runs its command as a fresh interpreter would, and so does its fork server: only the imports
are shared. Agents in another network namespace or environment, and whatever looks at command lines,
take the real start.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# As an agent gives its fork server; they are read on import.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}


class Forked:
    """What `subprocess.Popen` tells of a process, of one that another process has forked."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def __del__(self) -> None:
        os.close(self._descriptor)

    def poll(self) -> int | None:
        """Return None while it lives; how it ended is not known here."""
        return self.wait(0)

    def wait(self, timeout_s: float) -> int | None:
        return 0 if select.select([self._descriptor], [], [], timeout_s)[0] else None


@functools.cache
def _forker() -> socket.socket:
    """Start the process that the others are forked from."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=ROOT,
            # What is found here is found there, the benchmark's modules too.
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def end() -> None:
        ours.close()
        process.wait(30)

    atexit.register(end)
    return ours


def start(words: list[str], log: Path, processor: int) -> Forked:
    """Fork what `python -m` would run with these words; it writes to `log`."""
    forker = _forker()
    forker.send(json.dumps([words, str(log), processor]).encode())
    return Forked(int(forker.recv(64)))


def fork(work: Callable[[], object]) -> int:
    """Fork a process that does this and ends; return its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        work()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def run(words: list[str], kept: int = 0) -> None:
    """Run a module as `python -m` does, with no descriptor but the usual and `kept`."""
    most = os.sysconf("SC_OPEN_MAX")
    os.closerange(3, kept or 3)
    os.closerange(max(kept, 2) + 1, most)
    sys.argv = words
    sys.modules.pop(words[0], None)  # or runpy warns, in an agent's log
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def popen(command: list[str], **options: Any) -> Any:
    """Fork an agent's fork server; start anything else as `subprocess.Popen` does."""
    if command[:2] != [sys.executable, "-m"]:
        return _popen(command, **options)
    (kept,) = options["pass_fds"]
    return fork(lambda: run(command[2:], kept))


def agent(words: list[str], log: str, processor: int) -> None:
    os.setsid()
    os.sched_setaffinity(0, [processor])
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(descriptor, number)
    subprocess.Popen = popen  # type: ignore[assignment, misc]
    run(words)


def reap(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main(descriptor: int) -> None:
    from paretopipe_runtime.worker import forkserver

    forkserver.warm()
    signal.signal(signal.SIGCHLD, reap)
    tests = socket.socket(fileno=descriptor)
    while said := tests.recv(65536):
        asked = json.loads(said)
        tests.send(str(fork(functools.partial(agent, *asked))).encode())


if __name__ == "__main__":
    _popen = subprocess.Popen
    main(int(sys.argv[1]))
