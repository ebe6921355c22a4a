"""A user's ONNX file, through real agents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from paretopipe_runtime import forked
from paretopipe_runtime.contract.onnx_files import file_of
from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator import record
from paretopipe_runtime.orchestrator.drive import drive
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from paretopipe_runtime.orchestrator.prepared import prepare
from paretopipe_runtime.orchestrator.runs import run_of
from tests.made import nets
from tests.runtime.cluster import Cluster
from tests.runtime.test_profile import plan_of, profile, samples

pytest.importorskip("onnxruntime")

PROFILE = {"kind": "profile", "cell_id": "onnx-net.profile", "repeats": 1, "batches": 2}


def brought(cluster: Cluster, net: torch.nn.Module) -> Path:
    """Write a file where the orchestrator looks for it."""
    from tests.made.onnx_nets import exported

    path = file_of(cluster.state_dir, "onnx:net")
    path.parent.mkdir(parents=True, exist_ok=True)
    return exported(path, net)


def planned(cluster: Cluster, path: Path, **more: Any) -> dict[str, Any]:
    from paretopipe_runtime.cut_onnx import listing

    said = forked.call(lambda: listing(path))
    names = [block["name"] for block in said["blocks"]]
    known = {key: said[key] for key in ("classes", "image_px", "graph")}
    own = {"model": said["model"], "image_px": said["image_px"], "batch_size": 3, "repeats": 1}
    own |= {"engine": "onnxruntime", "classes": said["classes"]}
    return cluster.plan(**own, splits="all", found={"block_names": names, **known}, **more)


def test_every_split_of_a_file_proves_itself(cluster: Cluster, tmp_path: Path) -> None:
    torch.manual_seed(0)
    document = planned(cluster, brought(cluster, nets.Tokens()))
    prepare_cells([document], cluster.state_dir, cluster.keys, lambda _: None)
    plan = read_plan(document)
    prepared = prepare(plan.workload, cluster.state_dir)
    assert len(plan.splits) == 4
    for cuts in plan.splits:
        run = run_of(plan, prepared.hop_bytes, cuts, 1)
        row = record.success(
            plan, run, prepared, drive(plan, run, prepared, cluster.keys, f"onnx-{cuts[0]}")
        )
        assert (row["status"], row["proof"]["argmax_equal"]) == ("ok", True)
        assert run.factors["graph"] == document["found"]["graph"]
        assert "weights_seed" not in run.factors
    done = profile(cluster, tmp_path, plan_of(cluster, **{**document, **PROFILE}))
    assert done.returncode == 0, done.stderr
    sample = samples(tmp_path)[0]
    assert sample["status"] == "ok"
    assert [block["name"] for block in sample["blocks"]] == document["found"]["block_names"]
    brought(cluster, nets.residual())
    with pytest.raises(ParetoPipeError, match=r"net\.onnx is another file here"):
        prepare(read_plan({**document, "batch_size": 2}).workload, cluster.state_dir)
