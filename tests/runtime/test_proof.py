"""Faults of the data path, each planted in a real run, which must not count."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.contract.splits import coded
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator import record
from paretopipe_runtime.orchestrator.drive import drive
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from paretopipe_runtime.orchestrator.prepared import prepare
from paretopipe_runtime.orchestrator.runs import run_of
from tests.runtime import faulty
from tests.runtime.cluster import Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("faulty")
    for node in ("pi1", "pi2"):
        (folder / node).mkdir()
    with Cluster.running(folder, module=faulty.__name__, forked=True) as made:
        prepare_cells([document(made)], made.state_dir, made.keys, lambda _: None)
        yield made


def document(cluster: Cluster, image_px: int = 160) -> dict[str, Any]:
    # More than 1 MiB arrives while the stage computes, and the first stage is far ahead.
    return cluster.plan(image_px=image_px, splits=[[1]], repeats=1, throughput_batches=9, window=4)


def status(cluster: Cluster, fault: str, codec: str) -> str:
    for node in cluster.agents:
        (cluster.folder / node / faulty.FILE).write_text(fault)
    # Where a quarter of the bytes has to be as much.
    early = fault == faulty.RELEASED and codec != "none"
    plan = read_plan(document(cluster, 320 if early else 160))
    prepared = prepare(plan.workload, cluster.state_dir)
    run = run_of(plan, prepared.hop_bytes, coded((1,), codec), 1)
    try:
        seen = drive(plan, run, prepared, cluster.keys, f"run-{codec}-{len(fault)}")
    except ParetoPipeError as error:
        return error.code
    return str(record.success(plan, run, prepared, seen)["status"])


# Of the largest images, ten seconds to prepare.
SLOW = (faulty.RELEASED, "int8")


@pytest.mark.parametrize(
    ("fault", "codec"),
    [
        pytest.param(*case, marks=pytest.mark.thorough if case == SLOW else ())
        for case in product(("", *faulty.FAULTS), ("none", "int8"))
    ],
)
def test_a_run_with_a_fault_in_its_data_path_does_not_count(
    cluster: Cluster, fault: str, codec: str
) -> None:
    found = status(cluster, fault, codec)
    if not fault:
        assert found == "ok"
    elif fault.startswith("batch"):
        assert found == "E_ORDER"
    else:
        changed = codec != "none" and fault in faulty.CHANGES_BYTES
        assert found == f"invalid:{'codec' if changed else 'output'}_mismatch"
