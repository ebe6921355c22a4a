"""Sweeps onto disks that fill up or fail: the real command and records, a measurement made up.

In a process of its own, for it mounts file systems and breaks `os`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretopipe_runtime import cli
from paretopipe_runtime.orchestrator import loop
from paretopipe_runtime.orchestrator.runs import Run
from tests.kills import trial
from tests.made import plans

_CLONE_NEWNS = 0x00020000
PAGE = 4096


def mounted(folder: Path, size: int) -> None:
    """Mount a small disk there that nobody else sees and that goes with this process."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "paretopipe-test", str(folder)], check=True
    )


def made_up(_plan: Any, run: Run, *_: Any) -> dict[str, Any]:
    """A record as long as a real one, for free."""
    filler = random.Random(run.key)
    latency = {"median_s": 1.0, "batch_s": [filler.random() for _ in range(60)]}
    return plans.row(run.key, factors=run.factors, latency=latency)


def give(command: list[str]) -> tuple[int, str]:
    """Run the command in this process; return its status and what it said."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        status = cli.main(command)
    return status, said.getvalue()


def assert_told(status: int, said: str) -> None:
    assert status == 75, (status, said)
    assert said.count("\n") == 1, said
    assert said.startswith("E_DISK: "), said
    assert "free some space" in said


def fill(
    command: list[str],
    folder: str,
    *,
    plan: str,
    state_dir: str,
    levels: list[int],
    size: int,
    report: str,
) -> int:
    """For each level: a disk with so many bytes free, a sweep on to it, room again, the rest."""
    loop._measure = made_up
    disk = Path(folder)
    mounted(disk, size)
    counts = {"trials": 0, "stopped": 0, "torn": 0}
    document = json.loads(Path(plan).read_text())
    keys = trial.keys(document, Path(state_dir))
    for level in levels:
        Path(plan).write_text(json.dumps(document | {"provenance": {"pad": "x" * (level % PAGE)}}))
        records, filler = disk / "cell.jsonl", disk / "filler"
        filler.write_bytes(b"\0" * max(0, size - level // PAGE * PAGE - PAGE))
        here = [*command, "--records", str(records), "--progress", str(disk / "progress.json")]
        status, said = give(here)
        if status:
            assert_told(status, said)
            counts["stopped"] += 1
            before = trial.whole(records)
            again, said = give(here)  # nothing has been freed
            assert_told(again, said)
            assert trial.whole(records).startswith(before)
        before = trial.whole(records)
        filler.unlink()
        status, said = give(here)
        assert status == 0, said
        content = records.read_bytes()
        assert content.startswith(before)
        trial.assert_complete(content, keys)
        counts["torn"] += records.with_name("cell.jsonl.torn").exists()
        counts["trials"] += 1
        for path in disk.iterdir():
            path.unlink()
    Path(report).write_text(json.dumps(counts))
    return 0


@dataclass(frozen=True)
class Fault:
    """What fails from the n-th call on: after `short` bytes; truncating may fail, too."""

    call: str
    number: int
    short: int = 0
    truncate: bool = True


FAULTS = (("open", 0, True), ("write", 0, True), ("write", 40, True), ("write", 40, False))
FAULTS += (("fsync", 0, True), ("fsync", 0, False))


@contextmanager
def broken(fault: Fault, code: int, folder: Path) -> Iterator[Callable[[], bool]]:
    """Let the calls of `os` on files in `folder` fail; yields whether any did."""
    seen = 0
    real = {name: getattr(os, name) for name in ("open", "write", "fsync", "ftruncate")}

    def reached(descriptor: int | Path | str) -> bool:
        nonlocal seen
        path = (
            Path(f"/proc/self/fd/{descriptor}").readlink()
            if isinstance(descriptor, int)
            else Path(descriptor)
        )
        if path.is_relative_to(folder):
            seen += 1
        return path.is_relative_to(folder) and seen >= fault.number

    def failing(target: Any, *more: Any, **options: Any) -> Any:
        if not reached(target):
            return real[fault.call](target, *more, **options)
        if fault.short and seen == fault.number:
            return real["write"](target, bytes(more[0][: fault.short]))
        raise OSError(code, os.strerror(code))

    def no_truncate(_descriptor: int, _size: int) -> None:
        raise OSError(code, os.strerror(code))

    setattr(os, fault.call, failing)
    if not fault.truncate:
        os.ftruncate = no_truncate
    try:
        yield lambda: seen >= fault.number
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def fail(command: list[str], folder: str, *, plan: str, state_dir: str, report: str) -> int:
    """Every call of one sweep that opens, writes or syncs its records fails once, in every way."""
    loop._measure = made_up
    counts = {"trials": 0, "calls": 0}
    keys = trial.keys(json.loads(Path(plan).read_text()), Path(state_dir))
    for call, short, truncate in FAULTS:
        for code in (errno.ENOSPC, errno.EIO):
            number = 0
            while _fail_once(
                command, keys, Path(folder), Fault(call, number + 1, short, truncate), code
            ):
                number += 1
                counts["trials"] += 1
            assert number, (call, "is never called")
            counts["calls"] = max(counts["calls"], number)
    Path(report).write_text(json.dumps(counts))
    return 0


def _fail_once(
    command: list[str], keys: frozenset[str], folder: Path, fault: Fault, code: int
) -> bool:
    records = folder / "cell.jsonl"
    for path in folder.glob("cell.jsonl*"):
        path.unlink()
    here = [*command, "--records", str(records)]
    with broken(fault, code, folder) as happened:
        status, said = give(here)
        failed = happened()
    if failed:
        assert_told(status, said)
        before = trial.whole(records)
        status, said = give(here)
        assert records.read_bytes().startswith(before)
    assert status == 0, (fault, said)
    trial.assert_complete(records.read_bytes(), keys)
    return failed
