"""Every split of every model on every backend and engine gives the unsplit model's answer.

Small images, so that 133 splits take minutes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from paretopipe_runtime.contract.factors import BACKEND, ENGINES
from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from tests.campaigns.conftest import Findings
from tests.runtime.cluster import Cluster
from tests.runtime.test_pipeline import runs, sweep

VARIANTS = [
    *((backend, "eager") for backend in BACKEND.values),
    *(("socket", engine) for engine in ENGINES if engine != "eager"),
]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("backend", "engine"), VARIANTS, ids=["-".join(v) for v in VARIANTS])
@pytest.mark.parametrize("model", MODEL_NAMES)
def test_every_split_is_proved_equal(
    cluster: Cluster, tmp_path: Path, findings: Findings, model: str, backend: str, engine: str
) -> None:
    info = model_info(model)
    cuts = list(range(1, info.blocks))
    if engine == "compile":  # half a minute per stage: the middle split only
        cuts = [info.blocks // 2]
    splits = [[cut] for cut in cuts]
    plan = cluster.plan(
        cell_id=f"{model}.{backend}.loopback.{engine}",
        model=model,
        classes=info.default_classes,
        image_px=139 if model == "inceptionv3" else 96,
        batch_size=2,
        backend=backend,
        engine=engine,
        hub=cluster.plan()["workers"][1],
        splits=splits,
        repeats=1,
        warmup_batches=1,
        latency_batches=1,
        throughput_batches=4,
    )
    prepare_cells([plan], cluster.state_dir, cluster.keys, lambda _: None)
    done = sweep(cluster, tmp_path, plan, timeout=7000)
    rows = runs(tmp_path)
    counted = [row for row in rows if row["status"] == "ok"]
    worst = max((row["proof"]["max_rel_err"] for row in counted), default=float("nan"))
    findings.add(
        f"{model:<12} {backend:<8} {engine:<14} {len(counted):>3} of {len(cuts)} splits "
        f"equal, largest relative error {worst:.1e} (allowed {ENGINES[engine].tolerance:.0e}), "
        f"{sum(row['proof']['batches_checked'] for row in counted)} batches, "
        f"{len(rows) - len(counted)} attempts failed"
    )
    assert done.returncode == 0, done.stderr
    assert {row["factors"]["split"] for row in counted} == {f"P{cut}" for cut in cuts}
