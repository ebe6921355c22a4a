"""A thousand batches through one run: the stages' memory and descriptors stay where they are."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from paretopipe_runtime.orchestrator.forecast import prepare_cells
from tests.runtime.cluster import Cluster
from tests.runtime.test_pipeline import command, no_stage_left, runs, wait_until

GROWTH_BYTES_A_BATCH = 1024


@dataclass
class Samples:
    """What one process held at some moments of its life."""

    rss: list[int]
    descriptors: list[int]

    def growth(self, batches: int) -> tuple[float, int]:
        """Bytes a batch and descriptors, from the second third to the last.

        Of descriptors the fewest count: one opened for a moment is no leak, one kept raises them.
        """
        third = len(self.rss) // 3
        assert third > 6, "too few samples"
        bytes_more = max(self.rss[2 * third :]) - max(self.rss[third : 2 * third])
        more = min(self.descriptors[2 * third :]) - min(self.descriptors[third : 2 * third])
        return bytes_more / (batches / 3), more


def test_memory_stays_flat(cluster: Cluster, tmp_path: Path) -> None:
    for growth, descriptors in soak(cluster, tmp_path, "socket", 1000):
        assert growth < GROWTH_BYTES_A_BATCH
        assert descriptors <= 0


def soak(cluster: Cluster, tmp_path: Path, backend: str, batches: int) -> list[tuple[float, int]]:
    """Run `batches`; return for each process how many bytes a batch and descriptors it grew by.

    From the second third of its life to the last.
    """
    plan = cluster.plan(
        backend=backend,
        splits=[[3]],
        repeats=1,
        warmup_batches=20,
        throughput_batches=batches,
        hub=cluster.plan()["workers"][1],
    )
    prepare_cells([plan], cluster.state_dir, cluster.keys, lambda _: None)
    wait_until(lambda: no_stage_left(cluster))
    process = subprocess.Popen(command(cluster, tmp_path, plan))
    seen: dict[int, Samples] = {}
    while process.poll() is None:
        for pid in (pid for name in cluster.agents for pid in cluster.stage_processes(name)):
            sample(seen.setdefault(pid, Samples([], [])), pid)
        time.sleep(0.05)
    assert process.returncode == 0
    (row,) = runs(tmp_path)
    assert row["status"] == "ok"
    assert row["proof"]["batches_checked"] == 20 + 3 + batches
    assert len(seen) == (3 if backend == "rpc_hub" else 2)
    return [samples.growth(batches) for samples in seen.values()]


def sample(samples: Samples, pid: int) -> None:
    try:
        process = psutil.Process(pid)
        samples.rss.append(process.memory_info().rss)
        samples.descriptors.append(process.num_fds())
    except psutil.NoSuchProcess:  # it has just ended
        return
