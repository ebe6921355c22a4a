"""A process that has imported everything and forks each sweep and controller: milliseconds each.

What it forks runs the real commands. It adopts every process whose parent was killed, so that what
a trial leaves behind are its children.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
_PR_SET_CHILD_SUBREAPER = 36


class Zygote:
    """The test's end: fork something, see how it ended, see what is still there."""

    def __init__(self, sock: socket.socket) -> None:
        self._file = sock.makefile("rw")

    @classmethod
    @contextmanager
    def running(cls, folder: Path, *, stub: bool) -> Iterator[Zygote]:
        ours, theirs = socket.socketpair()
        with theirs, (folder / "zygote.log").open("ab") as log:
            descriptor = theirs.fileno()
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(descriptor), "stub" if stub else "real"],
                pass_fds=[descriptor],
                cwd=ROOT,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        made = cls(ours)
        try:
            yield made
        finally:
            made._file.close()
            ours.close()
            process.wait(30)

    def fork(self, job: str, **arguments: Any) -> int:
        """Fork a process that does one of `jobs.JOBS`; return its pid."""
        return int(self._ask({"job": job, "arguments": arguments}))

    def status(self, pid: int, timeout: float = 60) -> int:
        """Wait for a process that was forked here; return its exit status."""
        deadline = time.monotonic() + timeout
        while (status := self.ended(pid)) is None:
            assert time.monotonic() < deadline, f"process {pid} did not end"
            time.sleep(0.005)
        return status

    def ended(self, pid: int) -> int | None:
        """The exit status of a process that was forked here; None while it lives."""
        status: int | None = self._ask({"status": pid})
        return status

    def strays(self) -> list[int]:
        """Every process below that still lives."""
        return list(self._ask({"strays": True}))

    def _ask(self, request: dict[str, Any]) -> Any:
        self._file.write(json.dumps(request) + "\n")
        self._file.flush()
        return json.loads(self._file.readline())["answer"]


def serve(
    descriptor: int, jobs: dict[str, Callable[..., int]], before_control: Callable[[], object]
) -> None:
    """Answer the test until it goes; then end what is left."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    sock = socket.socket(fileno=descriptor)
    file = sock.makefile("rw")
    ended: dict[int, int] = {}
    while True:
        select.select([sock], [], [], 1)
        line = file.readline()
        if not line:
            break
        _reap(ended)
        request = json.loads(line)
        answer: Any
        if "job" in request:
            if request["job"] == "control":
                before_control()
            answer = _fork(jobs[request["job"]], request["arguments"], sock)
            ended.pop(answer, None)  # what an earlier process of the same number became
        elif "status" in request:
            answer = ended.get(request["status"])
        else:
            answer = children()
        file.write(json.dumps({"answer": answer}) + "\n")
        file.flush()
    for pid in children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def children(pid: int | None = None) -> list[int]:
    """The processes that `pid`, this one by default, has started or adopted."""
    pid = pid or os.getpid()
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _reap(ended: dict[int, int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            ended[pid] = os.waitstatus_to_exitcode(status)


def _fork(job: Callable[..., int], arguments: dict[str, Any], sock: socket.socket) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        os.setsid()
        sock.close()
        status = job(**arguments)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    from tests.kills import jobs

    jobs.warm(stub=sys.argv[2] == "stub")
    serve(int(sys.argv[1]), jobs.JOBS, jobs.collect_records)
