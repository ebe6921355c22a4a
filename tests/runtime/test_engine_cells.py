"""Cells on every engine, end to end; and engines that a node cannot run, told beforehand."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from tests.runtime.cluster import ADDRESSES, Cluster
from tests.runtime.test_pipeline import runs, sweep


@pytest.mark.parametrize("engine", ["channels_last", "onnxruntime"])
def test_a_cell_on_another_engine_proves_itself(
    cluster: Cluster, tmp_path: Path, engine: str
) -> None:
    plan = cluster.plan(cell_id=f"mobilenetv2.{engine}", engine=engine, repeats=1)
    said: list[str] = []
    prepare_cells([plan], cluster.state_dir, cluster.keys, said.append)
    assert len(said) == 2
    done = sweep(cluster, tmp_path, plan)
    assert done.returncode == 0, done.stderr
    rows = runs(tmp_path)
    assert [row["factors"]["engine"] for row in rows] == [engine, engine]
    for row in rows:
        assert row["status"] == "ok"
        assert row["proof"]["tolerance"] == ENGINES[engine].tolerance
        first, _ = row["hops"]
        assert first["bytes_planned"] == first["bytes_sent"] == first["bytes_received"] > 0


def test_each_engine_and_allocator_is_probed_once(cluster: Cluster) -> None:
    def workers(allocator: str) -> list[dict[str, object]]:
        return [{**worker, "allocator": allocator} for worker in cluster.plan()["workers"]]

    plans = [
        cluster.plan(cell_id=f"{engine}.{allocator}", engine=engine, workers=workers(allocator))
        for engine in ("eager", "channels_last")
        for allocator in ("tuned", "default")
    ]
    said: list[str] = []
    rows = prepare_cells([*plans, plans[0]], cluster.state_dir, cluster.keys, said.append)
    assert len(rows) == 5
    assert len(said) == 8
    assert [line.rpartition(" ")[2] for line in said] == ["eager"] * 4 + ["channels_last"] * 4


def test_an_engine_that_a_node_cannot_run_is_told_before_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("11" * 32)
    with socket.create_server((ADDRESSES["pi1"], 0)) as probe:
        port = probe.getsockname()[1]
    bare = Cluster(tmp_path, bytes.fromhex("11" * 32), port)
    taskset = shutil.which("taskset")  # which starts the agent; no compiler beside it
    assert taskset is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/taskset").symlink_to(taskset)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    bare.start("pi1")
    try:
        plan = bare.plan(engine="compile", splits=[[3]])
        plan["workers"] = [plan["workers"][0], plan["workers"][0]]
        with pytest.raises(ParetoPipeError, match=r"^E_ENGINE: .*pi1: .*g\+\+ is not on this host"):
            prepare_cells([plan], bare.state_dir, bare.keys, lambda _: None)
    finally:
        bare.stop("pi1")
