"""Stages without blocks: they pass on what they take, whatever the engine computes with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.orchestrator.forecast import prepare_cells
from tests.runtime.cluster import Cluster
from tests.runtime.test_pipeline import runs, sweep
from tests.runtime.test_profile import link_of, profile, samples
from tests.runtime.test_rpc import plan_of as rpc_plan
from tests.runtime.test_rpc import rpc_cluster as rpc_cluster

INPUT_BYTES = 2 * 3 * 32 * 32 * 4


def all_on_the_last(cluster: Cluster, folder: Path, plan: dict[str, Any]) -> dict[str, Any]:
    """Measure the cell with its end points; return the run whose first stages have no block."""
    prepare_cells([plan], cluster.state_dir, cluster.keys, lambda _: None)
    done = sweep(cluster, folder, {**plan, "repeats": 1, "end_points": True})
    assert done.returncode == 0, done.stderr
    (row,) = (row for row in runs(folder) if row["factors"]["cuts"][:1] == [0])
    return row


@pytest.mark.parametrize("engine", ["eager", "channels_last", "onnxruntime"])
def test_the_first_stage_sends_its_input_on(cluster: Cluster, tmp_path: Path, engine: str) -> None:
    plan = cluster.plan(cell_id=f"empty.{engine}", engine=engine, splits=[[3]])
    row = all_on_the_last(cluster, tmp_path, plan)
    assert (row["status"], row["proof"]["argmax_equal"]) == ("ok", True)
    assert row["hops"][0]["bytes_per_batch"] == INPUT_BYTES
    empty, full = row["stages"]
    assert (empty["first_block"], empty["end_block"], empty["block_names"]) == (0, 0, [])
    assert (full["first_block"], len(full["block_names"])) == (0, full["end_block"])
    assert len(empty["compute_s"]["latency"]) == 3


@pytest.mark.parametrize("backend", ["rpc", "rpc_hub"])
def test_pytorch_rpc_passes_it_on_too(rpc_cluster: Cluster, tmp_path: Path, backend: str) -> None:
    plan = rpc_plan(rpc_cluster, backend, cell_id=f"empty.{backend}", splits=[[3]])
    row = all_on_the_last(rpc_cluster, tmp_path, plan)
    assert row["status"] == "ok"
    assert row["hops"][0]["bytes_sent"] == row["hops"][0]["bytes_planned"]


@pytest.mark.parametrize("backend", ["rpc", "rpc_hub"])
def test_a_link_is_measured_over_pytorch_rpc_too(
    rpc_cluster: Cluster, tmp_path: Path, backend: str
) -> None:
    hub = rpc_plan(rpc_cluster, backend).get("hub")
    changes = {"hub": hub} if hub else {}
    done = profile(
        rpc_cluster, tmp_path, link_of(rpc_cluster, backend=backend, repeats=1, **changes)
    )
    assert done.returncode == 0, done.stderr
    (row,) = samples(tmp_path)
    assert (row["status"], row["security"]) == ("ok", "rpc-insecure")
    assert row["factors"].get("hub") == (hub["host"] if hub else None)
    assert [len(transfer["latency_s"]) for transfer in row["transfers"]] == [4, 4]
