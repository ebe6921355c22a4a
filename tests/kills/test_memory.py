"""A stage that wants more memory than its host has is killed by the kernel, and called so."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from paretopipe_runtime.worker import forkserver
from tests.kills import trial
from tests.kills.trial import Bench
from tests.kills.zygote import children

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
LIMIT = 64 * 2**20
WIDE_PX = 1600  # two batches of two such images are 123 MB


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
