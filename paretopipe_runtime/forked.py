"""Run a function in a forked process and return its JSON result."""

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
    """Return the JSON-ready result of `function`, computed in a forked child.

    The child inherits imports, but no threads, connections or warm caches.

    Raises
    ------
    ParetoPipeError
        As raised by `function`; ``E_CRASH`` for other exceptions and a dead child.
    """
    read_end, write_end = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            die_with(parent)
            os.close(read_end)
            _child(function, write_end)
        finally:  # never return into the parent's code
            os._exit(1)
    os.close(write_end)
    try:
        with os.fdopen(read_end, "rb") as pipe:
            answer = pipe.read()
    except BaseException:  # such as KeyboardInterrupt
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
    """Have the kernel kill this process when its parent, with pid `parent`, dies."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died first
        os._exit(1)


def _child(function: Callable[[], Any], write_end: int) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):  # undo the parent's handlers
        signal.signal(number, signal.SIG_DFL)
    try:
        outcome = {"value": function()}
    except ParetoPipeError as error:
        outcome = {"error": (error.code, error.message)}
    except BaseException as error:  # one line for the parent, the traceback for the log
        sys.excepthook(type(error), error, error.__traceback__)
        outcome = {"error": ("E_CRASH", f"{type(error).__name__}: {error}")}
    with contextlib.suppress(OSError):  # the reader may be gone
        sys.stderr.flush()
    with os.fdopen(write_end, "wb") as pipe:
        pipe.write(json.dumps(outcome).encode())
    os._exit(0)
