"""Two real agents for campaigns, and a run for them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from paretopipe_runtime.contract.plan import Plan, read_plan
from paretopipe_runtime.orchestrator.deployment import deploy
from paretopipe_runtime.orchestrator.drive import drive
from paretopipe_runtime.orchestrator.prepared import Prepared, prepare
from paretopipe_runtime.orchestrator.runs import Run
from paretopipe_runtime.wire.tls import Identity
from tests.certificates import Authority
from tests.runtime.cluster import Cluster
from tests.shared import one_thread as one_thread


@dataclass
class Live:
    cluster: Cluster
    plan: Plan
    prepared: Prepared

    @classmethod
    def of(cls, cluster: Cluster, **changes: Any) -> Live:
        plan = read_plan(cluster.plan(splits=[[9]], **changes))
        prepared = prepare(plan.workload, cluster.state_dir)
        for worker in plan.chain.workers:
            deploy(worker, prepared.manifest, cluster.state_dir / "weights", cluster.keys)
        return cls(cluster, plan, prepared)

    @property
    def address(self) -> tuple[str, int]:
        return self.plan.chain.workers[0].address, self.plan.chain.workers[0].port

    def session(self) -> float:
        """Deploy nothing at the first agent; return seconds."""
        began = time.monotonic()
        sent = deploy(
            self.plan.chain.workers[0],
            self.prepared.manifest,
            self.cluster.state_dir / "weights",
            self.cluster.keys,
        )
        assert sent == 0
        return time.monotonic() - began

    def run(self, batches: int = 3) -> tuple[float, dict[str, Any]]:
        """Run across both agents, check outputs, return seconds and result."""
        began = time.monotonic()
        run = Run(
            (9,), self.plan.chain.workers, 1, 0, 1, 1, batches, {}, window=self.plan.phases.window
        )
        seen = drive(self.plan, run, self.prepared, self.cluster.keys, secrets.token_hex(8))
        assert seen["proof"]["argmax_equal"]
        assert seen["proof"]["finite"]
        assert seen["proof"]["batches_checked"] == 2 + batches
        return time.monotonic() - began, seen


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Authority.made(tmp_path_factory.mktemp("authority")).identity("node", "127.0.0.1")


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with Cluster.running(tmp_path_factory.mktemp("live"), forked=True) as cluster:
        yield Live.of(cluster)
