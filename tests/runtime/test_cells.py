"""Cells end to end: end points and sentinels, a block measured again, and every engine."""

from __future__ import annotations

import dataclasses
import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator import building
from paretopipe_runtime.orchestrator.forecast import prepare_cells, visits
from paretopipe_runtime.orchestrator.pace import learned
from tests.runtime.cluster import ADDRESSES, Cluster
from tests.runtime.test_pipeline import runs, sweep
from tests.shared import needs_executorch

TINY = 1e-9  # no two runs are this alike: every block's sentinel has shifted


@pytest.fixture
def plan(cluster: Cluster) -> dict[str, Any]:
    document = cluster.plan(repeats=1, end_points=True, sentinel=True, drift_limit=TINY)
    (row,) = prepare_cells([document], cluster.state_dir, cluster.keys, lambda _: None)
    assert row["runs"] == 6
    return document


def test_a_block_that_shifted_is_measured_again_and_resumes_amid_its_second_pass(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    done = sweep(cluster, tmp_path, plan)
    assert done.returncode == 0, done.stderr
    assert "all 12 runs measured" in done.stdout
    rows = runs(tmp_path)
    assert [row["status"] for row in rows] == ["ok"] * 12
    assert [row["block_pass"] for row in rows] == [1] * 6 + [2] * 6
    assert [row["attempt"] for row in rows] == [1] * 6 + [2] * 6
    first, second = ([row["run_key"] for row in half] for half in (rows[:6], rows[6:]))
    assert first == second
    assert [row["factors"].get("sentinel") for row in rows[:6]] == ["open", *[None] * 4, "close"]
    progress = json.loads((tmp_path / "progress.json").read_text())
    assert (progress["runs_done"], progress["runs_total"]) == (12, 12)
    assert ", round 1 again: sentinel shifted " in progress["current"]

    cell = tmp_path / "cell.jsonl"
    cut_short = b"".join(cell.read_bytes().splitlines(keepends=True)[: 1 + 9])
    cell.write_bytes(cut_short)
    assert sweep(cluster, tmp_path, plan).returncode == 0
    assert cell.read_bytes().startswith(cut_short)
    assert [row["run_key"] for row in runs(tmp_path)] == first + second
    assert sweep(cluster, tmp_path, plan).returncode == 0
    assert len(runs(tmp_path)) == 12, "a block is measured twice at most"


def test_a_doubtful_cell_is_estimated_by_its_cap_and_its_time(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    limits = {"budget": 0.5, "audit": 0.1, "delta": 0.02}
    told = []
    for within_s in (None, 1e-3):
        doubtful = {
            "sentinel": False,
            "drift_limit": 0,
            "doubtful": {**limits, "within_s": within_s},
        }
        given = ([{**plan, **doubtful, "repeats": 5}], cluster.state_dir, cluster.keys)
        told += prepare_cells(*given, lambda _: None, tmp_path)
    assert [row["left"] for row in told] == [2 + 5, 0], "end points, and half of ten runs"
    assert told[0]["left_s"] > 0 == told[1]["left_s"]


def test_the_first_blocks_alone_then_the_rest_which_is_judged(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    """The keys are those of a sweep in one go; only the whole is judged, and learned from twice."""
    plan = {**plan, "repeats": 2, "splits": [[3]], "cell_id": "cell"}
    (row,) = prepare_cells([plan], cluster.state_dir, cluster.keys, lambda _: None, tmp_path, 1)
    told = visits([row])["visits_s"]
    assert list(told) == ["cell first", "cell"]
    assert 0 < told["cell first"] < told["cell"]

    first = sweep(cluster, tmp_path, plan, "--rounds", "1")
    assert (first.returncode, first.stdout) == (0, "all 5 runs measured\n")
    assert [row["factors"]["repeat"] for row in runs(tmp_path)] == [1] * 5
    assert verdicts(tmp_path) == []
    assert learned(cluster.state_dir, ["cell"])["cell"].runs == 5
    (row,) = prepare_cells([plan], cluster.state_dir, cluster.keys, lambda _: None, tmp_path, 1)
    told = visits([row])["visits_s"]
    assert list(told) == ["cell"]

    assert sweep(cluster, tmp_path, plan).returncode == 0
    every = runs(tmp_path)
    assert [row["factors"]["repeat"] for row in every[:10]] == [1] * 5 + [2] * 5
    (verdict,) = verdicts(tmp_path)
    again = [row["factors"]["repeat"] for row in every if row["block_pass"] == 2]
    assert sorted(set(again)) == verdict["beyond"]
    assert max(verdict["limit"]["latency"]) > TINY, "what the runs scatter by"
    assert learned(cluster.state_dir, ["cell"])["cell"].blocks == 2
    before = (tmp_path / "cell.jsonl").read_bytes()
    assert sweep(cluster, tmp_path, plan).returncode == 0
    assert (tmp_path / "cell.jsonl").read_bytes() == before


def test_what_the_hosts_scatter_by_is_measured_where_something_is_left_and_written(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    few = {**plan, "cell_id": "cell", "end_points": False, "sentinel": False, "splits": [[3]]}
    said: list[str] = []

    def scatter() -> dict[str, float]:
        given = ([few], cluster.state_dir, cluster.keys, said.append, tmp_path)
        return dict(prepare_cells(*given, noise_s=0.1)[0]["scatter"])

    seen = scatter()
    assert set(seen) == {"pi1", "pi2"}
    assert 0 < seen["pi1"] == seen["pi2"], "one machine, measured once"
    assert said[-1].startswith("the same work, timed again, scatters by: pi1 ")
    assert sweep(cluster, tmp_path, few).returncode == 0
    (noise,) = lines_of(tmp_path, "noise")
    assert {host: found["scatter"] for host, found in noise["hosts"].items()} == seen
    assert scatter() == {}, "nothing is left to measure"


def verdicts(folder: Path) -> list[dict[str, Any]]:
    return lines_of(folder, "drift")


def lines_of(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "cell.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


def test_everything_on_one_host_proves_itself_as_a_split_does(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    done = sweep(cluster, tmp_path, {**plan, "sentinel": False, "splits": [[3]]})
    assert done.returncode == 0, done.stderr
    rows = {row["factors"]["split"]: row for row in runs(tmp_path)}
    alone, far = rows["all on pi1"], rows["all on pi2"]
    assert [row["status"] for row in rows.values()] == ["ok"] * 3
    assert alone["factors"]["role"] == far["factors"]["role"] == "end_point"

    assert set(alone["hosts"]) == {"pi1"}
    (stage,), (hop,) = alone["stages"], alone["hops"]
    assert (stage["host"], stage["first_block"], stage["end_block"]) == ("pi1", 0, 21)
    assert (hop["from"], hop["to"]) == ("pi1", "orchestrator")
    assert hop["bytes_planned"] == hop["bytes_sent"] == hop["bytes_received"] > 0

    assert set(far["hosts"]) == {"pi1", "pi2"}
    camera, model = far["stages"]
    assert (camera["block_names"], camera["partition_bytes"]) == ([], 0)
    assert (model["host"], model["first_block"], model["end_block"]) == ("pi2", 0, 21)
    assert far["hops"][0]["shape"] == [2, 3, 32, 32], "the input itself crosses"
    assert far["hops"][0]["bytes_planned"] == far["hops"][0]["bytes_received"]


def test_the_input_crosses_every_host_of_a_longer_chain(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    workers = [*plan["workers"], plan["workers"][0]]
    chain = {**plan, "workers": workers, "splits": [[3, 17]], "sentinel": False}
    done = sweep(cluster, tmp_path, chain)
    assert done.returncode == 0, done.stderr
    (far,) = (row for row in runs(tmp_path) if row["factors"]["cuts"] == [0, 0])
    assert [stage["block_names"] == [] for stage in far["stages"]] == [True, True, False]
    assert [hop["shape"] for hop in far["hops"]] == [[2, 3, 32, 32], [2, 3, 32, 32], [2, 10]]
    assert far["status"] == "ok"


@pytest.mark.parametrize(
    "engine",
    [
        "channels_last",
        "onnxruntime",
        pytest.param("xnnpack", marks=[needs_executorch, pytest.mark.thorough]),  # half a minute
    ],
)
def test_a_cell_on_another_engine_proves_itself(
    cluster: Cluster, tmp_path: Path, engine: str
) -> None:
    plan = cluster.plan(
        cell_id=f"mobilenetv2.{engine}", engine=engine, splits=[[3]], repeats=1, end_points=True
    )
    said: list[str] = []
    prepare_cells([plan], cluster.state_dir, cluster.keys, said.append)
    assert len(said) == 2
    done = sweep(cluster, tmp_path, plan)
    assert done.returncode == 0, done.stderr
    rows = {row["factors"]["split"]: row for row in runs(tmp_path)}
    assert set(rows) == {"P3", "all on pi1", "all on pi2"}
    for row in rows.values():
        assert row["factors"]["engine"] == engine
        assert row["status"] == "ok"
        assert row["proof"]["tolerance"] == ENGINES[engine].tolerance
        first = row["hops"][0]
        assert first["bytes_planned"] == first["bytes_sent"] == first["bytes_received"] > 0
    # A stage without blocks passes its input on, whatever the engine computes with.
    far = rows["all on pi2"]
    assert far["hops"][0]["bytes_per_batch"] == 2 * 3 * 32 * 32 * 4
    empty, full = far["stages"]
    assert (empty["first_block"], empty["end_block"], empty["block_names"]) == (0, 0, [])
    assert (full["first_block"], len(full["block_names"])) == (0, full["end_block"])
    assert len(empty["compute_s"]["latency"]) == 3


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


def test_stages_are_built_beforehand_once_for_all_cells(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = dataclasses.replace(ENGINES["channels_last"], built=True)
    monkeypatch.setitem(ENGINES, slow.name, slow)
    monkeypatch.setattr(building, "WORTH_SAYING_S", 0.0)
    plan = cluster.plan(engine=slow.name, splits=[[3]], end_points=True)
    turned = {**plan, "cell_id": "turned", "workers": plan["workers"][::-1]}
    said: list[str] = []
    prepare_cells([plan, plan, turned], cluster.state_dir, cluster.keys, said.append)
    built = [line.partition(" of ")[0] for line in said if " built for engine " in line]
    blocks = ["pi1: blocks 0…3", "pi1: blocks 0…21", "pi2: blocks 0…21", "pi2: blocks 3…21"]
    assert built == [*blocks, "pi2: blocks 0…3", "pi1: blocks 3…21"]


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
