"""One measurement at a time on a host: a lock that the kernel frees when its holder dies.

What the file says of the holder is for people. Whether it is held, only the kernel tells: nothing
has to be tidied after a crash, and nothing can be left behind that blocks the next sweep.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paretopipe_runtime.errors import ParetoPipeError

NAME = "sweep.lock"
#: A holder that was killed lets go within this time, and a new one has written who it is.
PATIENCE_S = 0.3
_POLL_S = 0.02


@contextmanager
def hold(state_dir: Path, operation: str) -> Iterator[None]:
    """Hold this host's lock while the block runs; children forked meanwhile hold it, too.

    Parameters
    ----------
    state_dir : Path
        The lock is a file in it, and stays there.
    operation : str
        What the next one is told that the host is busy with.

    Raises
    ------
    ParetoPipeError
        ``E_BUSY``: who holds it, since when, and how it is freed; ``E_DISK`` where there can be no
        such file.
    """
    path = state_dir / NAME
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ParetoPipeError(
            "E_DISK", f"cannot open {path}: {error.strerror} — is {state_dir} this user's to write?"
        ) from error
    try:
        _acquire(descriptor, path)
        _sign(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise ParetoPipeError("E_BUSY", _in_use(path)) from error
        time.sleep(_POLL_S)


def _sign(descriptor: int, operation: str) -> None:
    """Say who holds it; a disk too full for that does not matter here."""
    holder = {
        "operation": operation,
        "pid": os.getpid(),
        "user": _user(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)
    except OSError:
        return


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # one without a name, as in a container
        return str(os.getuid())


def _in_use(path: Path) -> str:
    holder: dict[str, Any] = {}
    try:
        holder = json.loads(path.read_text())
        who = "`{operation}`, process {pid} of {user} on {host} since {since}".format(**holder)
    except (OSError, ValueError, KeyError, TypeError):
        who = f"another command (`fuser {path}` tells which)"
    return (
        f"this host is measuring already: {who} holds {path} — wait until it is done; if you are "
        "sure that nobody needs it, stop it with playbooks/reset.yml, or end that process: the "
        "lock goes with it"
    )
