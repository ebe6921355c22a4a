"""What every long command does: hold the host's lock, end when told to, say how it ended.

What the lock's file says of its holder is for people. Whether it is held, only the kernel tells:
nothing has to be tidied after a crash, and nothing can be left behind that blocks the next sweep.
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

#: Exit codes; 75 is EX_TEMPFAIL of sysexits.h: the same command goes on.
COMPLETE, INCOMPLETE, INTERRUPTED = 0, 1, 75

NAME = "sweep.lock"
#: A holder that was killed lets go within this time, and a new one has written who it is.
PATIENCE_S = 0.3
_POLL_S = 0.02
SECOND_LOOK_S = 5.0  # a controller renews its lease every 2 s


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


@dataclass(frozen=True)
class Lease:
    """A file that whoever started a job touches again and again: without it the job ends.

    Without a path there is nobody to wait for.
    """

    path: Path | None
    seconds: float

    def expired(self) -> bool:
        """Whether whoever holds it has stopped touching it.

        A clock that was set, either way, makes a lease look old until it is touched the next time,
        so an old one is looked at twice.
        """
        if not self.is_old():
            return False
        time.sleep(SECOND_LOOK_S)
        return self.is_old()

    def is_old(self) -> bool:
        """Whether it looks so now: enough to doubt a run, not to end a sweep."""
        if self.path is None:
            return False
        try:
            return abs(time.time() - self.path.stat().st_mtime) > self.seconds
        except FileNotFoundError:
            return True


def stop_on_signal() -> list[int]:
    """Let SIGTERM and SIGINT fill the list in place of ending the process.

    systemd and a terminal signal the child under way as well, which ends at once; a signal to this
    process alone lets it finish.
    """
    seen: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        seen.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    return seen
