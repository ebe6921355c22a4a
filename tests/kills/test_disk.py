"""Disks that are full or fail, and hosts out of memory: nothing is lost, a sentence says so."""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.worker import forkserver
from tests import namespaces
from tests.effort import trials
from tests.kills import trial
from tests.kills.trial import Bench, command
from tests.kills.zygote import children

SIZE = 64 * 1024
STEP, LEVELS, SEED = 100, 200, 20261124
KIB = (64, 256, 1024)  # the first in steps of STEP, the larger ones at LEVELS levels
REPEATS = {64: 12, 256: 48, 1024: 192}  # so that a sweep is nearly as large as the disk
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
LIMIT = 64 * 2**20
WIDE_PX = 1600  # two batches of two such images are 123 MB


def levels(kib: int) -> tuple[int, list[int], int]:
    """A disk's size, the free bytes to try on it, and the repeats of a sweep that nearly fits."""
    size = kib * 1024
    step = STEP if kib == KIB[0] else size // LEVELS
    return size, list(range(0, size, step)), REPEATS[kib]


def on_disk(bench: Bench, tmp_path: Path, job: str, **more: Any) -> dict[str, int]:
    """Run one of the disk's jobs on a plan of its own; return what it counted."""
    plan, log, report = tmp_path / "plan.json", tmp_path / "log", tmp_path / "report.json"
    plan.write_text(json.dumps({**bench.plan, "repeats": more.pop("repeats")}))
    folder = tmp_path / "disk"
    folder.mkdir()
    pid = bench.zygote.fork(
        job,
        command=command(bench.cluster, "sweep", plan),
        folder=str(folder),
        plan=str(plan),
        state_dir=str(bench.cluster.state_dir),
        log=str(log),
        report=str(report),
        **more,
    )
    assert bench.zygote.status(pid, 3000) == 0, log.read_text()
    return dict(json.loads(report.read_text()))


@namespaces.needed()
def test_a_full_disk_tears_nothing(bench: Bench, tmp_path: Path) -> None:
    number = trials(25, LEVELS)
    levels = random.Random(SEED).sample(range(0, SIZE, STEP), number)
    counts = on_disk(bench, tmp_path, "fill", repeats=12, size=SIZE, levels=levels)
    print(f"seed {SEED}: {counts}")
    assert counts["trials"] == number
    assert 0 < counts["stopped"] < number, "some sweeps fit, some do not"


def test_every_call_that_fails_is_survived(bench: Bench, tmp_path: Path) -> None:
    counts = on_disk(bench, tmp_path, "fail", repeats=3)
    print(counts)
    assert counts["calls"] >= 1 + 2 * 3  # the plan and the runs


@contextmanager
def limited(pid: int) -> Iterator[None]:
    """Give a process and what it forks so little memory."""
    parent = V1 if V1.is_dir() else V2
    limits = {"memory.swappiness": 0, "memory.limit_in_bytes": LIMIT}
    if parent is V2:
        limits = {"memory.max": LIMIT, "memory.swap.max": 0}
    group = parent / f"paretopipe-test-{os.getpid()}"
    try:
        group.mkdir()
        for name, value in limits.items():
            (group / name).write_text(str(value))
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"a memory limit cannot be set here: {error}")
    try:
        yield
    finally:
        (parent / "cgroup.procs").write_text(str(pid))
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.05)


def test_out_of_memory_is_called_so_and_the_sweep_goes_on(bench: Bench, tmp_path: Path) -> None:
    plan, records = tmp_path / "plan.json", tmp_path / "cell.jsonl"
    splits = [[3], [8], [12]]
    plan.write_text(json.dumps({**bench.plan, "image_px": WIDE_PX, "splits": splits}))
    (fork_server,) = children(bench.cluster.agents["pi1"].pid)
    before = forkserver.oom_kills()
    with limited(fork_server):
        pid = bench.zygote.fork(
            "measure",
            command=[*trial.command(bench.cluster, "sweep", plan), "--records", str(records)],
            records=str(records),
            log=str(tmp_path / "log"),
        )
        assert bench.zygote.status(pid) == 1
        bench.settle()
    rows = [json.loads(line) for line in records.read_text().splitlines()][1:]
    assert forkserver.oom_kills() > before
    assert {row["status"] for row in rows} == {"failed:E_OOM"}
    assert sorted(row["attempt"] for row in rows) == [1] * len(splits) + [2] * len(splits)
    assert "pi1: its stage 1 was killed for want of memory" in rows[0]["message"]
