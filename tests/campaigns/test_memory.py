"""The most memory that a stage with the whole model takes, by model, engine, allocator and batch.

`roles/preflight/judging/sizes.py` has these figures; a test compares them.
"""

from __future__ import annotations

import pytest

from paretopipe_runtime import forked
from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.orchestrator.deployment import deploy
from paretopipe_runtime.orchestrator.drive import drive
from paretopipe_runtime.orchestrator.prepared import prepare
from paretopipe_runtime.orchestrator.runs import Run
from tests.campaigns.conftest import Findings
from tests.runtime.cluster import Cluster

MIB = 2**20
BATCHES = (1, 8)
ENGINES = ("eager", "channels_last", "onnxruntime")  # compile takes minutes for each


def peak_mib(
    cluster: Cluster, model: str, engine: str, allocator: str, batch: int
) -> tuple[int, int]:
    """Return the weights and the stage's peak resident memory, in MiB."""
    info = model_info(model)
    alone = {**cluster.plan()["workers"][0], "allocator": allocator}
    plan = read_plan(
        cluster.plan(
            **{"model": model, "classes": info.default_classes, "image_px": info.image_px},
            **{"batch_size": batch, "engine": engine, "workers": [alone], "splits": [[]]},
        )
    )
    prepared = prepare(plan.workload, cluster.state_dir)
    deploy(plan.chain.workers[0], prepared.manifest, cluster.state_dir / "weights", cluster.keys)
    run = Run((), plan.chain.workers, 0, 0, 1, 2, 6, {}, window=plan.phases.window)

    def fresh() -> int:
        seen = drive(plan, run, prepared, cluster.key, f"memory-{model}-{batch}")
        return int(seen["reports"][0]["peak_rss_bytes"])

    weights = sum(block["nbytes"] for block in prepared.manifest["blocks"])
    return round(weights / MIB), round(forked.call(fresh) / MIB)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", MODEL_NAMES)
def test_the_peak_is_measured(
    cluster: Cluster, findings: Findings, model: str, engine: str
) -> None:
    for allocator in ("tuned", "default"):
        sizes = [peak_mib(cluster, model, engine, allocator, batch) for batch in BATCHES]
        (weights, one), (_, eight) = sizes
        findings.add(
            f"{model:<12} {engine:<14} {allocator:<8} {weights:>4} MiB of weights, "
            f"{one:>5} MiB with batches of 1, {eight:>5} MiB with batches of 8"
        )
        assert weights < one < eight
