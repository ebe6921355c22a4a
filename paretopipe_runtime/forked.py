"""Run a function in a fresh forked process and get its JSON answer back."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from paretopipe_runtime.errors import ParetoPipeError

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def call(function: Callable[[], Any]) -> Any:
    """Return what `function` returns (JSON-ready), computed in a child process.

    The child starts with this process's imports and nothing of its other children: no threads, no
    connections, no warm caches.

    Raises
    ------
    ParetoPipeError
        The one `function` raised; ``E_CRASH`` when the child died or raised anything else.
    """
    read_end, write_end = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            die_with(parent)
            os.close(read_end)
            _child(function, write_end)
        finally:  # whatever it was: the parent's code is not to go on a second time in here
            os._exit(1)
    os.close(write_end)
    try:
        with os.fdopen(read_end, "rb") as pipe:
            answer = pipe.read()
    except BaseException:  # interrupted: do not leave the child running
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    _, status = os.waitpid(pid, 0)
    if not answer:
        code = os.waitstatus_to_exitcode(status)
        raise ParetoPipeError("E_CRASH", f"a child process ended with exit status {code}")
    outcome = json.loads(answer)
    if "error" in outcome:
        raise ParetoPipeError(*outcome["error"])
    return outcome["value"]


def die_with(parent: int) -> None:
    """Let the kernel kill this process, which `parent` has just forked, once that dies.

    What a killed process started would otherwise go on, and be in the way of what starts next.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was faster
        os._exit(1)


def _child(function: Callable[[], Any], write_end: int) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):  # a parent that ends orderly need not wait
        signal.signal(number, signal.SIG_DFL)
    try:
        outcome = {"value": function()}
    except ParetoPipeError as error:
        outcome = {"error": (error.code, error.message)}
    except BaseException as error:  # the parent gets one line, the log the traceback
        sys.excepthook(type(error), error, error.__traceback__)
        outcome = {"error": ("E_CRASH", f"{type(error).__name__}: {error}")}
    with contextlib.suppress(OSError):  # whom it was for may be gone
        sys.stderr.flush()
    with os.fdopen(write_end, "wb") as pipe:
        pipe.write(json.dumps(outcome).encode())
    os._exit(0)
