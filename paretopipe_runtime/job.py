"""Host lock, lease and stop signals of long commands.

The lock is the kernel's, so a crash leaves nothing behind; the file's content is for people.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from paretopipe_runtime.errors import ParetoPipeError

#: Exit codes; 75 is sysexits.h's EX_TEMPFAIL: the same command continues.
COMPLETE, INCOMPLETE, INTERRUPTED = 0, 1, 75

NAME = "sweep.lock"
#: Within this time a killed holder's lock is released, and a new holder has signed.
PATIENCE_S = 0.3
_POLL_S = 0.02
SECOND_LOOK_S = 5.0  # a controller renews its lease every 2 s


@contextmanager
def hold(state_dir: Path, operation: str) -> Iterator[None]:
    """Hold this host's lock while the block runs; children forked meanwhile hold it too.

    Parameters
    ----------
    state_dir : Path
        Folder of the lock file, which is never deleted.
    operation : str
        Name of the command, for the error of the next one.

    Raises
    ------
    ParetoPipeError
        ``E_BUSY``, with the holder; ``E_DISK``.
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
    """Record the holder; a full disk does not matter."""
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
    except (KeyError, OSError):  # no passwd entry, as in a container
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


@dataclass(frozen=True)
class Lease:
    """A file that a job's starter touches periodically, or the job ends; no path, no lease."""

    path: Path | None
    seconds: float

    def expired(self) -> bool:
        """Say whether the lease has run out; looks twice, as a changed clock ages it once."""
        if not self.is_old():
            return False
        time.sleep(SECOND_LOOK_S)
        return self.is_old()

    def is_old(self) -> bool:
        """Say whether it looks expired: enough to doubt a run, not to end a sweep."""
        if self.path is None:
            return False
        try:
            return abs(time.time() - self.path.stat().st_mtime) > self.seconds
        except FileNotFoundError:
            return True


def stop_on_signal() -> list[int]:
    """Collect SIGTERM and SIGINT in the returned list instead of dying.

    A terminal or systemd signals the current child too, which ends at once; a signal to this
    process alone lets it finish.
    """
    seen: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        seen.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    return seen
