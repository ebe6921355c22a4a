"""From a processor to a GPU: the splits of the paper's Table III and the middle, proved and timed.

`make gpu` runs it on a host with an NVIDIA GPU. REHEARSE_ON=cpu tries the campaign itself without
one, and keeps nothing.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from reports.paper import highlights
from tests.campaigns.conftest import Findings
from tests.runtime.cluster import Cluster
from tests.runtime.test_pipeline import runs, sweep

DEVICE = os.environ.get("REHEARSE_ON", "cuda")
pytestmark = pytest.mark.skipif(
    DEVICE == "cuda" and not torch.cuda.is_available(),
    reason="needs an NVIDIA GPU and a CUDA build of torch in .venv: run `make gpu` on such a host",
)


@pytest.fixture(scope="module")
def findings() -> Iterator[Findings]:
    made = Findings("gpu", "Processor to GPU on one host: batches of 8, the paper's image sizes")
    yield made
    if DEVICE == "cuda":
        made.write()


def milliseconds(seconds: list[float]) -> str:
    return f"{1000 * statistics.median(seconds):.2f}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("engine", [engine.name for engine in ENGINES.values() if engine.cuda])
@pytest.mark.parametrize("model", MODEL_NAMES)
def test_table_iii_on_one_host(
    cluster: Cluster, tmp_path: Path, findings: Findings, model: str, engine: str
) -> None:
    info = model_info(model)
    (row,) = highlights(model, "pi_to_gpu")
    plan = cluster.plan(
        cell_id=f"{model}.{engine}.gpu",
        model=model,
        classes=info.default_classes,
        image_px=info.image_px,
        batch_size=8,
        engine=engine,
        splits=[[row.cut], [info.blocks // 2]],
        repeats=1,
        warmup_batches=3,
        latency_batches=5,
        throughput_batches=16,
    )
    plan["workers"][1]["device"] = DEVICE
    prepare_cells([plan], cluster.state_dir, cluster.keys, lambda _: None)
    done = sweep(cluster, tmp_path, plan, timeout=500)
    assert done.returncode == 0, done.stderr
    for run in runs(tmp_path):
        assert run["status"] == "ok", run
        findings.add(line(model, engine, run))


def line(model: str, engine: str, run: dict[str, Any]) -> str:
    """Describe a run: what it gained, where the second stage's time went, how exact it was."""
    proof, (first, second) = run["proof"], run["stages"]
    steps = [
        f"{step} {milliseconds(second[f'gpu_{step}_s']['latency'])}"
        for step in ("copy_in", "kernels", "copy_out")
        if f"gpu_{step}_s" in second
    ]
    return (
        f"{model:<12} {engine:<14} {run['factors']['split']:>4}: "
        f"{1000 * run['latency']['median_s']:.1f} ms, "
        f"{run['throughput']['sustained_img_s']:.1f} img/s; stages "
        f"{milliseconds(first['compute_s']['latency'])} and "
        f"{milliseconds(second['compute_s']['latency'])} ms"
        f"{' (' + ', '.join(steps) + ')' if steps else ''}; largest relative error "
        f"{proof['max_rel_err']:.1e} of {ENGINES[engine].tolerance:.0e}"
    )
