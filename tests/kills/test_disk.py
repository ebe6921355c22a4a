"""Disks that are full, or fail: no torn record survives, nothing is lost, a sentence says so."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tests import namespaces
from tests.effort import trials
from tests.kills.trial import Bench, command

SIZE = 64 * 1024
STEP, LEVELS, SEED = 100, 200, 20261124
KIB = (64, 256, 1024)  # the first in steps of STEP, the larger ones at LEVELS levels
REPEATS = {64: 12, 256: 48, 1024: 192}  # so that a sweep is nearly as large as the disk


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
