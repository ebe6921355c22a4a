"""The runtime end to end: real agents, real forks, real sockets, real torch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.cli import main
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.job import Lease
from paretopipe_runtime.orchestrator.forecast import prepare_cells, table
from paretopipe_runtime.worker.agent import Agent
from paretopipe_runtime.worker.node import Node
from tests.runtime.cluster import ADDRESSES, Cluster


@pytest.fixture
def plan(cluster: Cluster) -> dict[str, Any]:
    document = cluster.plan()
    prepare_cells([document], cluster.state_dir, cluster.keys, lambda _: None)
    return document


def command(cluster: Cluster, folder: Path, document: dict[str, Any]) -> list[str]:
    (folder / "plan.json").write_text(json.dumps(document))
    return [
        sys.executable,
        "-m",
        "paretopipe_runtime.cli",
        "sweep",
        str(folder / "plan.json"),
        "--records",
        str(folder / "cell.jsonl"),
        "--progress",
        str(folder / "progress.json"),
        "--key-file",
        str(cluster.key_file),
        "--state-dir",
        str(cluster.state_dir),
        *cluster.arguments("orchestrator"),
    ]


def sweep(
    cluster: Cluster, folder: Path, document: dict[str, Any], *more: str, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command(cluster, folder, document), *more],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def runs(folder: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "cell.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == "run"]


def wait_until(condition: Callable[[], object], timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def no_stage_left(cluster: Cluster) -> bool:
    return not any(cluster.stage_processes(name) for name in cluster.agents)


def test_a_cell_is_measured_and_every_run_proves_itself(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    done = sweep(cluster, tmp_path, plan)
    assert done.returncode == 0, done.stderr
    rows = runs(tmp_path)
    assert sorted((row["factors"]["split"], row["factors"]["repeat"]) for row in rows) == [
        ("P17", 1),
        ("P17", 2),
        ("P3", 1),
        ("P3", 2),
    ]
    for row in rows:
        assert row["status"] == "ok"
        assert row["proof"]["max_rel_err"] <= 1e-5
        assert row["proof"]["argmax_equal"]
        assert row["proof"]["batches_checked"] == 1 + 3 + 6
        first, last = row["hops"]
        assert first["bytes_planned"] == first["bytes_sent"] == first["bytes_received"] > 0
        assert last["bytes_planned"] == last["bytes_received"] == 10 * 2 * 10 * 4
        one, two = row["stages"]
        assert (one["host"], two["host"]) == ("pi1", "pi2")
        assert one["end_block"] == two["first_block"] == row["factors"]["cuts"][0]
        assert one["partition_bytes"] + two["partition_bytes"] > 2_236_682 * 4
        for phase, batches in (("warmup", 1), ("latency", 3), ("throughput", 6)):
            assert len(one["compute_s"][phase]) == len(two["compute_s"][phase]) == batches
        assert all(seconds > 0 for seconds in row["network_s"]["latency"])
        speed = row["throughput"]
        assert speed["completion_s"] == sorted(speed["completion_s"])
        assert speed["img_s"] == pytest.approx(2 * 6 / speed["completion_s"][-1])
    boots = {row["hosts"]["pi1"]["torch"] for row in rows}
    assert len(boots) == 1
    progress = json.loads((tmp_path / "progress.json").read_text())
    assert (progress["runs_done"], progress["finished"]) == (4, True)
    wait_until(lambda: no_stage_left(cluster), 5)


def test_the_same_sweep_again_measures_nothing_and_more_measures_the_rest(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    few = {**plan, "splits": [[3]], "repeats": 1}
    assert sweep(cluster, tmp_path, few).returncode == 0
    before = (tmp_path / "cell.jsonl").read_bytes()
    assert sweep(cluster, tmp_path, few).returncode == 0
    assert (tmp_path / "cell.jsonl").read_bytes() == before
    assert sweep(cluster, tmp_path, plan).returncode == 0
    after = (tmp_path / "cell.jsonl").read_bytes()
    assert after.startswith(before)
    assert len(runs(tmp_path)) == 4
    assert len({row["run_key"] for row in runs(tmp_path)}) == 4


def test_the_estimate_is_of_what_is_left(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    assert sweep(cluster, tmp_path, {**plan, "repeats": 1}).returncode == 0
    (tmp_path / "cell.jsonl").rename(tmp_path / f"{plan['cell_id']}.jsonl")

    def estimate(folder: Path | None) -> dict[str, Any]:
        return prepare_cells([plan], cluster.state_dir, cluster.keys, lambda _: None, folder)[0]

    whole, rest = estimate(None), estimate(tmp_path)
    assert (whole["runs"], whole["left"]) == (4, 4)
    assert (rest["runs"], rest["left"]) == (4, 2)
    assert rest["bytes_on_wire"] == whole["bytes_on_wire"] / 2
    assert "4 of 4" not in table([whole])
    assert "2 of 4" in table([rest])


def test_an_estimate_that_finds_no_room_says_so(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    where = ["--key-file", str(cluster.key_file), "--state-dir", str(cluster.state_dir)]
    status = main(["prepare", str(tmp_path / "plan.json"), "--outlook", "/dev/full", *where])
    assert status == os.EX_TEMPFAIL
    told = capsys.readouterr().err.splitlines()
    assert told == [
        "E_DISK: cannot write /dev/full: No space left on device — free some space there"
    ]


def test_three_stages_work_as_two_do(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    workers = [*plan["workers"], plan["workers"][0]]
    chain = {**plan, "workers": workers, "splits": [[3, 17]], "repeats": 1}
    done = sweep(cluster, tmp_path, chain)
    assert done.returncode == 0, done.stderr
    (row,) = runs(tmp_path)
    assert row["factors"]["split"] == "P3-17"
    assert [stage["host"] for stage in row["stages"]] == ["pi1", "pi2", "pi1"]
    assert len(row["hops"]) == 3
    assert row["proof"]["argmax_equal"]


def test_a_killed_orchestrator_loses_nothing_and_leaves_nothing(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    process = subprocess.Popen(command(cluster, tmp_path, {**plan, "repeats": 4}))
    cell = tmp_path / "cell.jsonl"
    wait_until(lambda: cell.exists() and cell.read_bytes().count(b'"kind":"run"') >= 2)
    time.sleep(0.15)  # into the next run
    os.kill(process.pid, signal.SIGKILL)
    process.wait(10)
    wait_until(lambda: no_stage_left(cluster), 20)
    before = cell.read_bytes()
    assert sweep(cluster, tmp_path, {**plan, "repeats": 4}).returncode == 0
    assert cell.read_bytes().startswith(before)
    keys = [row["run_key"] for row in runs(tmp_path)]
    assert len(keys) == len(set(keys)) == 8


def test_a_stopped_sweep_ends_at_once_without_a_failed_row(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    long = {**plan, "splits": [[3]], "repeats": 1, "throughput_batches": 5000}
    wait_until(lambda: no_stage_left(cluster))
    process = subprocess.Popen(
        command(cluster, tmp_path, long),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: cluster.stage_processes("pi2"))
    os.killpg(process.pid, signal.SIGTERM)  # as systemd does: to every process of the unit
    stderr = process.communicate(timeout=20)[1]
    assert process.returncode == 75
    assert "stopped with 1 runs to go" in stderr
    assert runs(tmp_path) == []
    wait_until(lambda: no_stage_left(cluster), 20)


def test_a_killed_stage_is_a_failed_row_and_the_sweep_goes_on(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    long = {**plan, "splits": [[3]], "repeats": 1, "throughput_batches": 400}
    wait_until(lambda: no_stage_left(cluster))  # an earlier run's may still be ending
    process = subprocess.Popen(command(cluster, tmp_path, long))
    wait_until(lambda: cluster.stage_processes("pi2"))
    time.sleep(0.2)
    (victim,) = cluster.stage_processes("pi2")
    os.kill(victim, signal.SIGKILL)
    assert process.wait(60) == 0
    failed, ok = runs(tmp_path)
    assert failed["status"] == "failed:E_KILLED", failed["message"]
    assert "pi2" in failed["message"] or "pi1" in failed["message"]
    assert (ok["status"], ok["attempt"]) == ("ok", 2)
    wait_until(lambda: no_stage_left(cluster), 20)


def test_a_dead_agent_gives_a_sentence_and_the_rest_waits(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    cluster.stop("pi2")
    try:
        done = sweep(cluster, tmp_path, plan, "--agent-wait", "0")
    finally:
        cluster.start("pi2")
    assert done.returncode == 1
    assert "no worker agent answers at" in done.stderr
    assert {row["status"] for row in runs(tmp_path)} == {"failed:E_CONNECT"}
    assert sweep(cluster, tmp_path, plan).returncode == 0
    assert sum(row["status"] == "ok" for row in runs(tmp_path)) == 4


def test_another_key_gives_a_sentence(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("00" * 32)
    done = sweep(cluster, tmp_path, plan, "--key-file", str(tmp_path / "key"))
    assert done.returncode == 1
    assert "do not share a key" in done.stderr
    assert "provision" in done.stderr


def test_missing_weights_give_a_sentence(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    done = sweep(cluster, tmp_path, {**plan, "weights_seed": 5, "splits": [[3]], "repeats": 1})
    assert done.returncode == 1
    assert "cannot load mobilenetv2's block" in done.stderr
    assert {row["status"] for row in runs(tmp_path)} == {"failed:E_WEIGHTS"}


def test_without_its_lease_a_sweep_stops_between_runs(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    lease = tmp_path / "lease"
    lease.touch()
    os.utime(lease, (0, 0))
    done = sweep(cluster, tmp_path, plan, "--lease", str(lease))
    assert done.returncode == 75
    assert "the same command goes on" in done.stderr
    lease.touch()
    assert sweep(cluster, tmp_path, plan, "--lease", str(lease)).returncode == 0


def test_what_comes_sooner_than_the_delay_asked_for_does_not_count(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    netem = {"delay": "900ms", "jitter": "0ms", "direction": "egress"}
    document = {**plan, "scenario": {"name": "far", "netem": netem, "measured": None}}
    done = sweep(cluster, tmp_path, document)
    assert done.returncode == 1
    assert {row["status"] for row in runs(tmp_path)} == {"invalid:exceeds_wire"}


@pytest.mark.parametrize(("shaped", "status"), [(True, "invalid:network_unheld"), (False, "ok")])
def test_a_run_under_a_shaped_network_that_nobody_watched_does_not_count(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path, shaped: bool, status: str
) -> None:
    netem = {"delay": "0ms", "rate": "1gbit"} if shaped else None
    document = {**plan, "scenario": {"name": "lan", "netem": netem, "measured": None}}
    lease, records = tmp_path / "lease", tmp_path / "cell.jsonl"
    lease.touch()
    more = ["--lease", str(lease), "--lease-seconds", "600"]
    process = subprocess.Popen([*command(cluster, tmp_path, document), *more])
    # The plan is written just before the first run.
    wait_until(lambda: records.exists() and b'"plan"' in records.read_bytes(), 60)
    lease.unlink()
    assert process.wait(60) == 75
    (row,) = runs(tmp_path)
    assert row["status"] == status
    assert bool(row["message"]) == shaped
    lease.touch()
    assert sweep(cluster, tmp_path, document, "--lease", str(lease)).returncode == 0
    assert sum(row["status"] == "ok" for row in runs(tmp_path)) == 4


def test_a_clock_that_is_set_ends_no_followed_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = tmp_path / "lease"
    for step in (-3600, 3600):
        lease.touch()
        os.utime(lease, (time.time() + step,) * 2)
        monkeypatch.setattr(time, "sleep", lambda _: lease.touch())
        assert not Lease(lease, 60).expired(), "the controller has touched it meanwhile"
        os.utime(lease, (time.time() + step,) * 2)
        monkeypatch.setattr(time, "sleep", lambda _: None)
        assert Lease(lease, 60).expired()


def test_wrong_input_is_one_line(cluster: Cluster, plan: dict[str, Any], tmp_path: Path) -> None:
    done = sweep(cluster, tmp_path, {**plan, "splits": [[40]]})
    assert done.returncode == 2
    assert done.stderr.startswith("E_SPLIT: split 40 of mobilenetv2 is out of range")
    assert done.stderr.count("\n") == 1


def test_an_agent_listens_on_its_own_address_only(cluster: Cluster) -> None:
    suffix = f":{cluster.port:04X}"
    locals_ = [
        line.split()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(suffix)
    ]
    little_endian = {
        "".join(f"{int(part):02X}" for part in reversed(address.split("."))) + suffix
        for address in ADDRESSES.values()
    }
    assert set(locals_) == little_endian


def test_a_wildcard_address_is_refused(cluster: Cluster) -> None:
    node = Node("pi1", "0.0.0.0", cluster.keys, cluster.folder / "x")
    with pytest.raises(ParetoPipeError, match=r"E_BIND.*wildcard"):
        Agent(node, cluster.port)
