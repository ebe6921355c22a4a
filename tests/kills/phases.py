"""Places in the life of a sweep where a test may hold it still: wrappers around the real functions.

The runtime knows nothing of them: they are put on in a process that a test has forked, after which
that runs the real command.
"""

from __future__ import annotations

import functools
import hmac
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paretopipe_runtime import job, records
from paretopipe_runtime.orchestrator import cell, drive, loop
from paretopipe_runtime.wire.frames import FrameType
from paretopipe_runtime.wire.receiving import Receiver

PHASES = (
    *("before_lock", "lock_taken", "records_opened", "plan_written"),
    *("connected", "hello", "auth", "workers_up"),
    *("warm_up", "mid_tensor", "between_batches", "torn_down"),
    *("computed_not_written", "mid_write", "written_not_synced", "synced_not_pulled"),
)
ONCE = PHASES[:3]  # before there is any run
HELD_S = 60.0


class Gate:
    """Holds the first process that comes to one phase of one run, until it is let go."""

    def __init__(self, folder: Path, phase: str, run: int) -> None:
        self.reached, self._go = folder / "reached", folder / "go"
        self._phase, self._wanted = phase, run
        self.run = 0

    def __call__(self, phase: str) -> None:
        if phase != self._phase or self.reached.exists():
            return
        if phase not in ONCE and self.run != self._wanted:
            return
        partial = self.reached.with_suffix(".partial")
        partial.write_text(str(os.getpid()))
        partial.rename(self.reached)
        deadline = time.monotonic() + HELD_S
        while not self._go.exists() and time.monotonic() < deadline:
            time.sleep(0.002)

    def release(self) -> None:
        self._go.touch()


def around(
    owner: Any,
    name: str,
    *,
    before: Callable[..., None] | None = None,
    after: Callable[..., None] | None = None,
) -> None:
    """Let a function call `before` and `after`, too, with the arguments it is given."""
    real = getattr(owner, name)

    @functools.wraps(real)
    def wrapped(*args: Any, **options: Any) -> Any:
        if before:
            before(*args, **options)
        value = real(*args, **options)
        if after:
            after(*args, **options)
        return value

    setattr(owner, name, wrapped)


def hook(gate: Gate, file: Path) -> None:
    """Let every phase of a sweep that writes to `file` pass by `gate`."""

    def at(phase: str, when: Callable[..., bool] = lambda *_, **__: True) -> Callable[..., None]:
        def pass_by(*args: Any, **options: Any) -> None:
            if when(*args, **options):
                gate(phase)

        return pass_by

    def next_run(*_: Any) -> None:
        gate.run += 1

    around(job, "_acquire", before=at("before_lock"), after=at("lock_taken"))
    around(cell, "read_plan", before=at("records_opened"))
    around(loop, "_measure", before=next_run, after=at("computed_not_written"))
    around(socket, "create_connection", after=at("connected"))
    around(drive, "launch", after=at("workers_up"))
    around(drive.Driver, "one_in_flight", before=at("warm_up"))
    around(Receiver, "receive_payload", before=at("mid_tensor", _is_tensor))
    around(drive.Driver, "_receive", after=at("between_batches", _nth(3)))
    around(cell, "drive", after=at("torn_down"))
    around(records.Records, "append", after=at("synced_not_pulled", _is_run))

    proofs = threading.local()  # each connection is made in a thread of its own

    def proof(*_: Any) -> None:
        proofs.count = getattr(proofs, "count", 0) + 1
        gate("hello" if proofs.count == 1 else "auth")

    around(hmac, "digest", before=proof)
    around(records.Records, "append_plan", after=_next_run_is(gate, at("plan_written")))
    _hook_writes(gate, file)


def _next_run_is(gate: Gate, pass_by: Callable[..., None]) -> Callable[..., None]:
    """A plan is written before its run begins."""

    def passed(*_: Any) -> None:
        gate.run += 1
        pass_by()
        gate.run -= 1

    return passed


def _hook_writes(gate: Gate, file: Path) -> None:
    write, fsync = os.write, os.fsync

    def write_in_two(descriptor: int, data: bytes) -> int:
        if gate.run and names(descriptor, file) and len(data) > 2:
            count = write(descriptor, bytes(data[: len(data) // 2]))
            gate("mid_write")
            return count
        return write(descriptor, data)

    def sync(descriptor: int) -> None:
        if gate.run and names(descriptor, file):
            gate("written_not_synced")
        fsync(descriptor)

    os.write, os.fsync = write_in_two, sync


def names(descriptor: int, file: Path) -> bool:
    """Whether a descriptor is of `file`."""
    return Path(f"/proc/self/fd/{descriptor}").readlink() == file


def _is_tensor(_receiver: Receiver, header: Any, *_: Any, **__: Any) -> bool:
    return header.type is FrameType.TENSOR


def _is_run(_records: Any, record: dict[str, Any]) -> bool:
    return record.get("kind") == "run"


def _nth(wanted: int) -> Callable[..., bool]:
    seen = 0

    def count(*_: Any, **__: Any) -> bool:
        nonlocal seen
        seen += 1
        return seen == wanted

    return count
