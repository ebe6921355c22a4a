"""A model whose blocks are found, through real agents."""

from __future__ import annotations

from typing import Any

import pytest

from paretopipe_runtime import forked
from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.cut import listing
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator import record
from paretopipe_runtime.orchestrator.drive import drive
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from paretopipe_runtime.orchestrator.prepared import prepare
from paretopipe_runtime.orchestrator.runs import run_of
from tests.runtime.cluster import Cluster

NETS = "module:tests.made.nets."


def planned(cluster: Cluster, net: str, **found: Any) -> dict[str, Any]:
    model = NETS + net
    said = forked.call(lambda: listing(model, 10))
    names = [block["name"] for block in said["blocks"]]
    known = {"block_names": names, **{key: said[key] for key in ("classes", "image_px", "graph")}}
    own = {"model": model, "image_px": said["image_px"], "batch_size": 2, "repeats": 1}
    return cluster.plan(**own, splits="all", found={**known, **found})


@pytest.mark.parametrize(
    ("net", "splits", "way"), [("Tokens", [1, 2, 3], "fx"), ("Deciding", [2, 8], "export")]
)
def test_every_split_of_a_found_model_proves_itself(
    cluster: Cluster, net: str, splits: list[int], way: str
) -> None:
    document = planned(cluster, net) | {"splits": [[split] for split in splits]}
    prepare_cells([document], cluster.state_dir, cluster.keys, lambda _: None)
    plan = read_plan(document)
    prepared = prepare(plan.workload, cluster.state_dir)
    assert (len(plan.splits), prepared.manifest["traced"]) == (len(splits), way)
    for cuts in plan.splits:
        run = run_of(plan, prepared.hop_bytes, cuts, 1)
        row = record.success(
            plan, run, prepared, drive(plan, run, prepared, cluster.keys, f"found-{cuts[0]}")
        )
        assert (row["status"], row["proof"]["argmax_equal"]) == ("ok", True)
        assert run.factors["graph"] == document["found"]["graph"]


def test_blocks_planned_by_another_graph_are_refused(cluster: Cluster) -> None:
    document = planned(cluster, "Tokens", graph="0" * 64)
    with pytest.raises(ParetoPipeError, match=r"E_MODEL.*find them again with playbooks/cut.yml"):
        prepare(read_plan(document).workload, cluster.state_dir)
