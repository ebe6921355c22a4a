"""The RPC backends end to end: the same runs, records and proofs as the socket backend's."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.orchestrator.forecast import prepare_cells
from tests.effort import some
from tests.runtime.cluster import ADDRESSES, Cluster
from tests.runtime.test_pipeline import command, no_stage_left, runs, sweep, wait_until
from tests.runtime.test_profile import link_of, profile, samples


@pytest.fixture(scope="module")
def rpc_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("rpc")
    with Cluster.running(folder, "--allow-insecure-rpc", forked=True) as made:
        prepare_cells([made.plan(backend="rpc")], made.state_dir, made.keys, lambda _: None)
        yield made


def plan_of(cluster: Cluster, backend: str, **changes: Any) -> dict[str, Any]:
    plan = cluster.plan(backend=backend, **changes)
    if backend == "rpc_hub":
        plan["hub"] = {"host": "pi2", "address": ADDRESSES["pi2"], "port": cluster.port}
    return plan


def proves_itself(row: dict[str, Any]) -> bool:
    return (
        row["status"] == "ok"
        and row["security"] == "rpc-insecure"
        and row["proof"]["batches_checked"] == 1 + 3 + 6
        and (row["proof"]["argmax_equal"] or "codec" in row["factors"])
        and all(
            hop["bytes_planned"] == hop["bytes_sent"] == hop["bytes_received"] > 0
            for hop in row["hops"]
        )
    )


@pytest.mark.parametrize("backend", ["rpc", "rpc_hub"])
def test_a_cell_is_measured_and_every_run_proves_itself(
    rpc_cluster: Cluster, tmp_path: Path, backend: str
) -> None:
    done = sweep(rpc_cluster, tmp_path, plan_of(rpc_cluster, backend))
    assert done.returncode == 0, done.stderr
    rows = runs(tmp_path)
    assert len(rows) == 4
    hub = "pi2" if backend == "rpc_hub" else None
    for row in rows:
        assert proves_itself(row), row
        assert row["hops"][0]["receive_s"] == {"warmup": [], "latency": [], "throughput": []}
        assert {hop.get("via") for hop in row["hops"]} == {hub}
        assert row["factors"].get("hub") == hub
        assert [stage["host"] for stage in row["stages"]] == ["pi1", "pi2"]
    wait_until(lambda: no_stage_left(rpc_cluster), 5)


@pytest.mark.parametrize("backend", ["rpc", "rpc_hub"])
def test_three_stages_work_as_two_do(rpc_cluster: Cluster, tmp_path: Path, backend: str) -> None:
    codecs = {"codecs": ["none", "int8"]}
    plan = plan_of(rpc_cluster, backend, splits=[[3, 17]], repeats=1, **codecs)
    plan["workers"].append(plan["workers"][0])
    done = sweep(rpc_cluster, tmp_path, plan)
    assert done.returncode == 0, done.stderr
    rows = runs(tmp_path)
    assert sorted(row["factors"]["split"] for row in rows) == ["P3-17", "P3-17 int8"]
    for row in rows:
        assert proves_itself(row), row
        assert [stage["host"] for stage in row["stages"]] == ["pi1", "pi2", "pi1"]
        coded = [hop.get("decoded_equal") for hop in row["hops"]]
        assert coded == ([True, True, None] if "codec" in row["factors"] else [None] * 3)


@pytest.mark.parametrize("backend", ["rpc", "rpc_hub"])
def test_everything_on_one_host_works_as_a_split_does(
    rpc_cluster: Cluster, tmp_path: Path, backend: str
) -> None:
    plan = plan_of(rpc_cluster, backend, splits=[[3]], repeats=1, end_points=True)
    done = sweep(rpc_cluster, tmp_path, plan)
    assert done.returncode == 0, done.stderr
    rows = {row["factors"]["split"]: row for row in runs(tmp_path)}
    assert set(rows) == {"P3", "all on pi1", "all on pi2"}
    for row in rows.values():
        assert proves_itself(row), row
    assert [stage["host"] for stage in rows["all on pi1"]["stages"]] == ["pi1"]
    assert [stage["block_names"] == [] for stage in rows["all on pi2"]["stages"]] == [True, False]


@pytest.mark.parametrize("backend", ["rpc", "rpc_hub"])
def test_a_link_is_measured_over_it_too(rpc_cluster: Cluster, tmp_path: Path, backend: str) -> None:
    hub = plan_of(rpc_cluster, backend).get("hub")
    changes = {"hub": hub} if hub else {}
    link = link_of(rpc_cluster, backend=backend, repeats=1, **changes)
    done = profile(rpc_cluster, tmp_path, link)
    assert done.returncode == 0, done.stderr
    (row,) = samples(tmp_path)
    assert (row["status"], row["security"]) == ("ok", "rpc-insecure")
    assert row["factors"].get("hub") == (hub["host"] if hub else None)
    assert [len(transfer["latency_s"]) for transfer in row["transfers"]] == [4, 4]


def test_a_node_that_does_not_allow_it_says_so(cluster: Cluster, tmp_path: Path) -> None:
    prepare_cells([cluster.plan()], cluster.state_dir, cluster.keys, lambda _: None)
    done = sweep(cluster, tmp_path, cluster.plan(backend="rpc", splits=[[3]], repeats=1))
    assert done.returncode == 1
    assert {row["status"] for row in runs(tmp_path)} == {"failed:E_RPC_OFF"}
    assert "allow_insecure_rpc=true" in done.stderr


def test_an_agent_that_allows_it_warns(rpc_cluster: Cluster, cluster: Cluster) -> None:
    warning = f"any host that can reach {ADDRESSES['pi1']} can run code here"
    assert warning in rpc_cluster.log("pi1")
    assert "WARNING" not in cluster.log("pi1")


@pytest.mark.parametrize(
    ("backend", "victim", "after_s"),
    some(
        [
            ("rpc", "pi1", 0.0),
            ("rpc", "pi2", 0.5),
            ("rpc_hub", "pi2", 0.5),
            ("rpc_hub", "pi1", 0.0),
        ],
        2,
    ),
)
def test_a_killed_process_is_a_failed_row_and_the_sweep_goes_on(
    rpc_cluster: Cluster, tmp_path: Path, backend: str, victim: str, after_s: float
) -> None:
    """At once it dies while the group meets, later in the middle of a run of seconds."""
    plan = plan_of(rpc_cluster, backend, splits=[[3]], repeats=1, throughput_batches=150)
    wait_until(lambda: no_stage_left(rpc_cluster))  # an earlier run's may still be ending
    process = subprocess.Popen(command(rpc_cluster, tmp_path, plan))
    wait_until(lambda: listens(rpc_cluster, victim))
    time.sleep(after_s)
    os.kill(rpc_cluster.stage_processes(victim)[0], signal.SIGKILL)
    assert process.wait(60) == 0
    failed, ok = runs(tmp_path)
    assert failed["status"] == "failed:E_KILLED", failed["message"]
    assert (ok["status"], ok["attempt"]) == ("ok", 2)
    wait_until(lambda: no_stage_left(rpc_cluster), 20)


def listens(cluster: Cluster, name: str) -> set[str]:
    """Return the addresses where a node's stage processes listen."""
    found = set()
    for pid in cluster.stage_processes(name):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            found |= listening(Path(f"/proc/{pid}"))
    return found


def listening(process: Path) -> set[str]:
    inodes = set()
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            inodes.add(str(descriptor.readlink()))
    rows = [
        line.split()
        for table in ("net/tcp", "net/tcp6")
        for line in (process / table).read_text().splitlines()[1:]
    ]
    return {
        address(row[1].partition(":")[0])
        for row in rows
        if row[3] == "0A" and f"socket:[{row[9]}]" in inodes
    }


def address(digits: str) -> str:
    """Return an address that the kernel wrote as little-endian words in hexadecimal."""
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


@pytest.mark.parametrize(
    ("backend", "expected"),
    # Loopback's first address, and the store on the experiment address of whoever comes first.
    [
        ("rpc", {"127.0.0.1", ADDRESSES["pi1"]}),
        ("rpc_hub", {"127.0.0.1", ADDRESSES["pi2"]}),
        ("socket", set()),
    ],
)
def test_no_stage_listens_on_a_wildcard(
    rpc_cluster: Cluster, tmp_path: Path, backend: str, expected: set[str]
) -> None:
    # For seconds: a busy machine may give this process no turn in a shorter run.
    plan = plan_of(rpc_cluster, backend, splits=[[3]], repeats=1, throughput_batches=100)
    wait_until(lambda: no_stage_left(rpc_cluster))
    process = subprocess.Popen(command(rpc_cluster, tmp_path, plan))
    seen: set[str] = set()
    processes: set[int] = set()
    while process.poll() is None:
        for name in ADDRESSES:
            processes |= set(rpc_cluster.stage_processes(name))
            seen |= listens(rpc_cluster, name)
        time.sleep(0.02)
    assert process.returncode == 0
    assert len(processes) == (3 if backend == "rpc_hub" else 2)
    assert seen == expected
