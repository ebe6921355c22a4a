"""Profiles end to end: real agents, fresh stages, the records they leave; operations by block."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.models.boundaries import block_flops
from paretopipe_runtime.orchestrator.forecast import (
    VISIT_S,
    prepare_cells,
    table,
    visits,
)
from paretopipe_runtime.orchestrator.prepared import prepare
from paretopipe_runtime.prediction import sources
from paretopipe_runtime.worker.profile import _reset_peak
from tests.runtime.cluster import Cluster
from tests.runtime.test_pipeline import no_stage_left, wait_until

REPEATS = 2
PAYLOADS = [4096, 8 * 1024 * 1024]
NOT_A_PROFILES = ("pairing", "scenario", "splits", "latency_batches", "throughput_batches")
#: AlexNet's multiply-adds for one image of 224 px: output pixels x filters x inputs of a filter.
ALEXNET = {
    "features.0": 55 * 55 * 64 * (3 * 11 * 11),
    "features.3": 27 * 27 * 192 * (64 * 5 * 5),
    "features.6": 13 * 13 * 384 * (192 * 3 * 3),
    "features.8": 13 * 13 * 256 * (384 * 3 * 3),
    "features.10": 13 * 13 * 256 * (256 * 3 * 3),
    "classifier.1": 256 * 6 * 6 * 4096,
    "classifier.4": 4096 * 4096,
    "classifier.6": 4096 * 1000,
}


def plan_of(cluster: Cluster, engine: str = "eager", **changes: Any) -> dict[str, Any]:
    """A profile's plan, with nothing of an ordinary plan that it need not have."""
    plan = cluster.plan(
        kind="profile", cell_id="mobilenetv2.profile", engine=engine, repeats=REPEATS, batches=3
    )
    return {key: value for key, value in plan.items() if key not in NOT_A_PROFILES} | changes


def link_of(cluster: Cluster, **changes: Any) -> dict[str, Any]:
    plan = cluster.plan(
        kind="link", cell_id="link.pi1-pi2.socket", batches=4, payload_bytes=PAYLOADS, **changes
    )
    needless = {"model", "classes", "image_px", "batch_size", "engine", "weights_seed", "splits"}
    return {key: value for key, value in plan.items() if key not in needless}


@pytest.fixture
def plan(cluster: Cluster) -> dict[str, Any]:
    prepare_cells([cluster.plan()], cluster.state_dir, cluster.keys, lambda _: None)
    return plan_of(cluster)


def command(cluster: Cluster, folder: Path, document: dict[str, Any]) -> list[str]:
    (folder / "plan.json").write_text(json.dumps(document))
    return [
        *(sys.executable, "-m", "paretopipe_runtime.cli", "profile", str(folder / "plan.json")),
        *("--records", str(folder / "profile.jsonl")),
        *("--progress", str(folder / "progress.json")),
        *("--key-file", str(cluster.key_file)),
        *("--state-dir", str(cluster.state_dir)),
    ]


def profile(
    cluster: Cluster, folder: Path, document: dict[str, Any], *more: str
) -> subprocess.CompletedProcess[str]:
    given = [*command(cluster, folder, document), *more]
    return subprocess.run(given, capture_output=True, text=True, timeout=120, check=False)


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "profile.jsonl").read_text().splitlines()]


def samples(folder: Path) -> list[dict[str, Any]]:
    return [record for record in records(folder) if record["kind"] != "plan"]


def test_the_peak_of_memory_is_in_bytes() -> None:
    peak = _reset_peak()
    if peak is None:
        pytest.skip("this kernel does not let a process reset its peak")
    assert peak == pytest.approx(psutil.Process().memory_info().rss, rel=0.01)


def test_every_worker_is_profiled_in_fresh_processes_and_proves_itself(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    done = profile(cluster, tmp_path, plan)
    assert done.returncode == 0, done.stderr
    first, *rows = records(tmp_path)
    assert (first["kind"], first["plan"]) == ("plan", plan)
    assert [row["factors"]["repeat"] for row in rows] == [1, 1, 2, 2]
    assert {row["factors"]["host"] for row in rows[:2]} == {"pi1", "pi2"}
    assert {row["factors"]["host"] for row in rows[2:]} == {"pi1", "pi2"}
    assert len({row["run_key"] for row in rows}) == 4
    can_reset = _reset_peak() is not None
    for row in rows:
        assert (row["kind"], row["status"], row["attempt"]) == ("profile", "ok", 1)
        assert row["proof"]["batches_checked"] == 2 * (1 + 3)  # both ways, warm-ups too
        assert row["proof"]["max_rel_err"] <= row["proof"]["tolerance"]
        assert set(row["hosts"]) == {row["factors"]["host"]}
        assert row["input_bytes"] == 2 * 3 * 32 * 32 * 4
        assert len(row["whole_s"]) == 3
        assert row["device"] == "cpu"
        assert 0 < row["cpu_percent"] <= 100 * row["threads"] * 1.1
        names = [block["name"] for block in row["blocks"]]
        assert tuple(names) == model_info("mobilenetv2").block_names
        assert sum(block["parameters"] for block in row["blocks"]) == 2_236_682
        assert sum(block["weight_bytes"] for block in row["blocks"]) > 4 * 2_236_682
        assert row["blocks"][0]["output_shape"] == [2, 32, 16, 16]
        assert row["blocks"][-1]["output_shape"] == [2, 10]
        for block in row["blocks"]:
            assert len(block["compute_s"]) == 3
            assert min(block["first_s"], *block["compute_s"]) > 0
            if can_reset:
                assert 0 < block["rss_before_bytes"] <= block["peak_rss_bytes"]
            else:
                assert block["rss_before_bytes"] is block["peak_rss_bytes"] is None
    progress = json.loads((tmp_path / "progress.json").read_text())
    assert (progress["runs_done"], progress["runs_total"], progress["left_s"]) == (4, 4, 0)
    assert progress["finished"]
    wait_until(lambda: no_stage_left(cluster), 5)


def test_profiles_are_foreseen_with_the_cells_as_far_as_they_are_not_there(
    cluster: Cluster, tmp_path: Path
) -> None:
    link = link_of(cluster, repeats=2)
    documents = [cluster.plan(), plan_of(cluster), link]

    def foreseen() -> dict[str, Any]:
        rows = prepare_cells(documents, cluster.state_dir, cluster.keys, lambda _: None, tmp_path)
        assert "mobilenetv2.profile" in table(rows)
        return visits(rows)["visits_s"]

    before = foreseen()
    assert list(before) == [document["cell_id"] for document in documents]
    assert min(before.values()) > VISIT_S
    assert profile(cluster, tmp_path, link).returncode == 0
    (tmp_path / "profile.jsonl").rename(tmp_path / f"{link['cell_id']}.jsonl")
    assert foreseen()[link["cell_id"]] == 0


@pytest.mark.parametrize("engine", ["channels_last", "onnxruntime"])
def test_another_engine_is_profiled_with_its_own_blocks(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path, engine: str
) -> None:
    few = plan_of(cluster, engine, repeats=1, workers=plan["workers"][:1])
    done = profile(cluster, tmp_path, few)
    assert done.returncode == 0, done.stderr
    (row,) = samples(tmp_path)
    assert (row["status"], row["factors"]["engine"]) == ("ok", engine)
    assert row["proof"]["tolerance"] == ENGINES[engine].tolerance
    assert len(row["blocks"]) == model_info("mobilenetv2").blocks


def test_codecs_are_timed_at_every_boundary_by_a_profile_of_its_own(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    few = {**plan, "repeats": 1, "workers": plan["workers"][:1]}
    more = {**few, "engine": "channels_last", "codecs": ["int4", "fp16"]}
    keys = set()
    for document in (few, {**few, "codecs": ["none"]}, {**few, "codecs": ["int4"]}, more):
        done = profile(cluster, tmp_path, document)
        assert done.returncode == 0, done.stderr
        *_, row = samples(tmp_path)
        keys.add(row["run_key"])
        asked = {*document.get("codecs", ())} - {"none"}
        assert row["proof"]["batches_checked"] == (3 if asked else 2) * (1 + 3)
        assert len(row["whole_s"]) == 3
        *inner, last = row["blocks"]
        assert "codecs" not in last
        for place in (row, *inner):
            assert {*place.get("codecs", ())} == asked
            for times in place.get("codecs", {}).values():
                assert [len(times[key]) for key in ("encode_s", "decode_s")] == [3, 3]
                assert min(times["encode_s"] + times["decode_s"]) > 0
    assert len(samples(tmp_path)) == len(keys) == 3  # the none is no codec to time
    (eager, other) = sources.read(tmp_path)[0]
    assert {one.variant["engine"]: {*one.codings} for one in (eager, other)} == {
        "eager": {"int4"},
        "channels_last": {"int4", "fp16"},
    }


def test_weights_that_a_worker_lacks_are_sent_first(cluster: Cluster, tmp_path: Path) -> None:
    plan = plan_of(cluster, repeats=1, weights_seed=6)
    assert profile(cluster, tmp_path, plan).returncode == 0
    assert [row["status"] for row in samples(tmp_path)] == ["ok", "ok"]


def test_the_same_profile_again_measures_nothing_and_more_measures_the_rest(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    few = {**plan, "repeats": 1, "workers": plan["workers"][:1]}
    assert profile(cluster, tmp_path, few).returncode == 0
    before = (tmp_path / "profile.jsonl").read_bytes()
    assert profile(cluster, tmp_path, few).returncode == 0
    assert (tmp_path / "profile.jsonl").read_bytes() == before
    assert profile(cluster, tmp_path, plan).returncode == 0
    assert (tmp_path / "profile.jsonl").read_bytes().startswith(before)
    assert len(samples(tmp_path)) == len({row["run_key"] for row in samples(tmp_path)}) == 4


def test_a_stopped_profile_ends_at_once_without_a_failed_row(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    wait_until(lambda: no_stage_left(cluster))
    process = subprocess.Popen(
        command(cluster, tmp_path, {**plan, "batches": 5000}),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: cluster.stage_processes("pi1") or cluster.stage_processes("pi2"))
    os.killpg(process.pid, signal.SIGTERM)  # as systemd does: to every process of the unit
    stderr = process.communicate(timeout=20)[1]
    assert process.returncode == 75
    assert "stopped with 4 samples to go" in stderr
    assert samples(tmp_path) == []
    wait_until(lambda: no_stage_left(cluster), 20)


def test_a_worker_that_is_gone_is_told_and_the_other_is_profiled(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    cluster.stop("pi2")
    try:
        done = profile(cluster, tmp_path, {**plan, "repeats": 1}, "--agent-wait", "0")
    finally:
        cluster.start("pi2")
    assert done.returncode == 1
    assert "1 of 2 samples have no valid result" in done.stderr
    assert "no worker agent answers at" in done.stderr
    status = {row["factors"]["host"]: row["status"] for row in samples(tmp_path)}
    assert status == {"pi1": "ok", "pi2": "failed:E_CONNECT"}
    assert profile(cluster, tmp_path, {**plan, "repeats": 1}).returncode == 0
    assert [row["attempt"] for row in samples(tmp_path) if row["factors"]["host"] == "pi2"] == [
        *(1, 2, 3)
    ]


def test_a_killed_stage_is_a_failed_row_and_the_sample_is_taken_again(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    wait_until(lambda: no_stage_left(cluster))
    long = {**plan, "batches": 150, "repeats": 1, "workers": plan["workers"][:1]}
    process = subprocess.Popen(command(cluster, tmp_path, long))
    wait_until(lambda: cluster.stage_processes("pi1"))
    time.sleep(0.2)
    (victim,) = cluster.stage_processes("pi1")
    os.kill(victim, signal.SIGKILL)
    assert process.wait(60) == 0
    failed, ok = samples(tmp_path)
    assert failed["status"] == "failed:E_KILLED", failed["message"]
    assert "pi1" in failed["message"]
    assert (ok["status"], ok["attempt"]) == ("ok", 2)


def test_a_link_moves_every_payload_and_proves_it(cluster: Cluster, tmp_path: Path) -> None:
    done = profile(cluster, tmp_path, link_of(cluster))
    assert done.returncode == 0, done.stderr
    rows = samples(tmp_path)
    assert [(row["kind"], row["factors"]["repeat"]) for row in rows] == [("link", 1), ("link", 2)]
    for row in rows:
        assert row["status"] == "ok"
        assert row["factors"]["hosts"] == ["pi1", "pi2"] == list(row["hosts"])
        assert row["network"] == {"asked": None, "measured": None}
        assert [transfer["payload_bytes"] for transfer in row["transfers"]] == PAYLOADS
        for transfer in row["transfers"]:
            assert len(transfer["latency_s"]) == 4
            assert min(transfer["pace_s"], *transfer["latency_s"]) > 0
            assert len(transfer["cpu_s"]) == 2
            assert min(transfer["cpu_s"]) > 0
        small, large = (transfer["cpu_s"] for transfer in row["transfers"])
        assert large[0] > small[0]
        assert large[1] > small[1]
    before = (tmp_path / "profile.jsonl").read_bytes()
    assert profile(cluster, tmp_path, link_of(cluster)).returncode == 0
    assert (tmp_path / "profile.jsonl").read_bytes() == before


def test_a_link_of_three_hosts_passes_through_the_one_between(
    cluster: Cluster, tmp_path: Path
) -> None:
    workers = link_of(cluster)["workers"]
    done = profile(cluster, tmp_path, link_of(cluster, workers=[*workers, workers[0]], repeats=1))
    assert done.returncode == 0, done.stderr
    assert samples(tmp_path)[0]["status"] == "ok"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "run"}, "kind is 'run', expected 'profile' or 'link'"),
        ({"engine": "fast"}, "fast"),
        ({"workers": []}, "workers is empty"),
        ({"codecs": ["int2"]}, "unknown codec 'int2': known are none, fp16, int8, int4"),
        ({"batches": 0}, "batches 0, expected 1 or more"),
        ({"warmup_batches": 0}, "warmup_batches 0, expected 1 or more"),
        ({"kind": "link", "payload_bytes": [6]}, "expected multiples of 4"),
        ({"kind": "link", "payload_bytes": [4], "batches": 1}, "a pace is between two"),
        ({"kind": "link", "payload_bytes": [4], "workers": []}, "a link has two ends"),
    ],
)
def test_wrong_input_is_one_line(
    cluster: Cluster, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    scenario = {"scenario": {"name": "baseline", "netem": None, "measured": None}}
    done = profile(cluster, tmp_path, {**plan_of(cluster), **scenario, **changes})
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_plain_network_counts_two_for_each_multiply_add() -> None:
    names = model_info("alexnet").block_names
    flops = dict(zip(names, block_flops("alexnet", 1000, 1, 224), strict=True))
    assert {name: count // 2 for name, count in flops.items() if count} == ALEXNET
    assert all(count % 2 == 0 for count in flops.values())


def test_a_depthwise_convolution_counts_its_own_channel_only() -> None:
    stem, first, *_ = block_flops("mobilenetv2", 10, 8, 224)
    assert stem == 2 * 8 * 112 * 112 * 32 * (3 * 3 * 3)
    assert first == 2 * 8 * 112 * 112 * (32 * (3 * 3) + 32 * 16)


def test_a_residual_block_counts_both_its_ways() -> None:
    names = model_info("resnet18").block_names
    flops = dict(zip(names, block_flops("resnet18", 10, 1, 224), strict=True))
    straight = 28 * 28 * 128 * (64 * 3 * 3) + 28 * 28 * 128 * (128 * 3 * 3)
    assert flops["layer2.0"] == 2 * (straight + 28 * 28 * 128 * 64)


@pytest.mark.parametrize("name", ["inceptionv3", "vgg16"])
def test_operations_grow_with_the_batch(name: str) -> None:
    one, four = (block_flops(name, 10, batch, 299) for batch in (1, 4))
    assert four == [4 * count for count in one]
    assert sum(one) > 0


def test_a_folder_of_an_earlier_version_is_completed(tmp_path: Path) -> None:
    document: dict[str, Any] = Cluster(tmp_path, b"", 1).plan(batch_size=1)
    made = prepare(read_plan(document).workload, tmp_path)
    (path,) = tmp_path.glob("prepared/*/facts.json")
    facts = json.loads(path.read_text())
    del facts["flops"]
    facts["work"] = list(made.work)
    path.write_text(json.dumps(facts))
    reference = path.with_name("reference.npy").stat().st_mtime_ns
    again = prepare(read_plan(document).workload, tmp_path)
    assert again.flops == made.flops
    assert again.work == made.work
    assert sum(again.work) == pytest.approx(1)
    assert path.with_name("reference.npy").stat().st_mtime_ns == reference
