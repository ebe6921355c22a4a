"""Runs pytest repeatedly, in forks of a process that has imported the heavy libraries.

Nothing of ours is imported before the fork, so that each run may use another copy of the project.
Reads JSON lines of ``folder``, ``words``, ``log`` and ``limit_s``; answers ``status`` (None:
timeout) and ``cpu_s``.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from typing import Any

# Ansible last: it replaces `sys.intern`, after which PyTorch cannot be imported.
HEAVY = (
    *("pytest", "torch", "torch._dynamo", "torch.distributed.rpc", "numpy", "pandas", "moocore"),
    *("scipy.special", "orjson", "psutil", "xxhash", "jinja2", "yaml", "safetensors.numpy"),
    *("safetensors.torch", "ansible.executor.task_executor", "ansible.module_utils.basic"),
    "ansible.plugins.action",
)
_POLL_S = 0.1


def main() -> None:
    sys.path.pop(0)  # this file's folder, not the tried project's
    for name in HEAVY:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        before = _children_s()
        status = _wait(_fork(asked), asked["limit_s"])
        answer = {"status": status, "cpu_s": _children_s() - before}
        print(json.dumps(answer), flush=True)


def _fork(asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1  # errors after the last test count too
    try:
        os.setsid()
        os.chdir(asked["folder"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.path.insert(0, asked["folder"])
        status = int(importlib.import_module("pytest").main(asked["words"]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(pid: int, limit_s: float) -> int | None:
    deadline = time.monotonic() + limit_s
    ended, status = 0, 0
    while not ended and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        ended, status = os.waitpid(pid, os.WNOHANG)
    with contextlib.suppress(ProcessLookupError):  # kills a failed test's leftovers
        os.killpg(pid, signal.SIGKILL)
    if not ended:
        os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) if ended else None


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
