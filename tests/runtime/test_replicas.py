"""Replicas of one stage: real agents, whose batches alternate and come back in order."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.contract.chain import filling_window
from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from paretopipe_runtime.worker.backends.backend import links_from_previous
from tests.runtime import faulty
from tests.runtime.cluster import Cluster
from tests.runtime.test_pipeline import command, no_stage_left, runs, sweep, wait_until
from tests.wire.test_admission import order, tcp_pair

#: Chains over three agents; where four hosts are needed, pi1's agent is ``server``, too.
CHAINS = {
    "first": ["pi1+pi2", "pi3"],
    "middle": ["pi1", "pi2+pi3", "server"],
    "last": ["pi1", "pi2+pi3"],
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    addresses = {f"pi{n}": f"127.0.77.{10 + n}" for n in (1, 2, 3)}
    folder = tmp_path_factory.mktemp("farm")
    for node in addresses:
        (folder / node).mkdir()
    with Cluster.running(folder, module=faulty.__name__, addresses=addresses) as made:
        yield made


def document(cluster: Cluster, chain: list[str], **changes: Any) -> dict[str, Any]:
    def worker(host: str) -> dict[str, Any]:
        address = cluster.addresses["pi1" if host == "server" else host]
        return {"host": host, "address": address, "port": cluster.port}

    workers = []
    for place in chain:
        first, *others = map(worker, place.split("+"))
        workers.append({**first, **({"replicas": others} if others else {})})
    cuts = [3, 17][: len(chain) - 1]
    made = cluster.plan(workers=workers, splits=[cuts], pairing="farm", **changes)
    prepare_cells([made], cluster.state_dir, cluster.keys, lambda _: None)
    return made


@pytest.mark.parametrize("place", CHAINS)
def test_batches_alternate_and_are_proved_in_order(
    cluster: Cluster, tmp_path: Path, place: str
) -> None:
    chain = CHAINS[place]
    plan = document(
        *(cluster, chain),
        **{"codecs": ["none", "int8"], "end_points": True, "saturate": True, "repeats": 1},
    )
    done = sweep(cluster, tmp_path, plan)
    assert done.returncode == 0, done.stderr
    rows = runs(tmp_path)
    assert {row["status"] for row in rows} == {"ok"}, [row["message"] for row in rows]
    assert {row["factors"]["split"] for row in rows} >= {
        *("P" + "-".join(map(str, plan["splits"][0])), f"all on {chain[0]}"),
    }
    hosts = {host for name in chain for host in name.split("+")}
    for row in rows:
        used = [stage["host"] for stage in row["stages"]]
        assert used == row["factors"]["hosts"] == chain[: len(used)]
        assert {*row["hosts"]} == {host for name in used for host in name.split("+")} <= hosts
        for hop in row["hops"]:
            assert hop["bytes_planned"] == hop["bytes_sent"] == hop["bytes_received"] > 0
        assert row["throughput"]["window"] == 4, "or the report would not take them for one cell's"
        for stage in row["stages"]:
            assert len(stage["compute_s"]["throughput"]) == 4 + 7


@contextmanager
def planted(cluster: Cluster, fault: str) -> Iterator[None]:
    files = [cluster.folder / node / faulty.FILE for node in cluster.agents]
    for file in files:
        file.write_text(fault)
    try:
        yield
    finally:
        for file in files:
            file.write_text("")


def test_two_hosts_take_twice_as_many_batches_and_each_as_long(
    cluster: Cluster, tmp_path: Path
) -> None:
    speeds, latencies = [], []
    for chain in (["pi1", "pi2", "server"], CHAINS["middle"]):
        plan = document(cluster, chain, repeats=1, throughput_batches=10, saturate=True)
        (tmp_path / chain[1]).mkdir()
        with planted(cluster, faulty.SLOW):
            assert sweep(cluster, tmp_path / chain[1], plan).returncode == 0
        (row,) = runs(tmp_path / chain[1])
        speeds.append(row["throughput"]["sustained_img_s"])
        latencies.append(row["latency"]["median_s"])
    assert speeds[1] / speeds[0] > 1.7
    assert latencies[1] / latencies[0] < 1.2


@pytest.mark.parametrize("fault", ["batch handed on twice", "batch never handed on"])
def test_a_batch_out_of_its_turn_ends_the_run(cluster: Cluster, tmp_path: Path, fault: str) -> None:
    plan = document(cluster, CHAINS["middle"], repeats=1)
    with planted(cluster, fault):
        sweep(cluster, tmp_path, plan)
    expected = {"twice": "batch 7 came, expected 9", "on": "batch 9 came, expected 7"}
    for row in runs(tmp_path):
        assert row["status"] == "failed:E_ORDER"
        assert f"pi3's stage 2: {expected[fault.split()[-1]]}" in row["message"]


@pytest.mark.parametrize(
    ("place", "victim"), [("first", "pi1"), ("middle", "pi3"), ("last", "pi3")]
)
def test_a_killed_replica_is_a_failed_row_that_names_it_and_the_run_is_repeated(
    cluster: Cluster, tmp_path: Path, place: str, victim: str
) -> None:
    plan = document(cluster, CHAINS[place], repeats=1, throughput_batches=150)
    wait_until(lambda: no_stage_left(cluster))
    process = subprocess.Popen(command(cluster, tmp_path, plan))
    wait_until(lambda: cluster.stage_processes(victim))
    time.sleep(0.4)
    (stage,) = cluster.stage_processes(victim)
    os.kill(stage, signal.SIGKILL)
    assert process.wait(60) == 0
    failed, ok = runs(tmp_path)
    assert failed["status"] == "failed:E_KILLED", failed["message"]
    number = 1 if place == "first" else 2
    assert failed["message"].startswith(
        f"{victim}: its stage {number} was killed by signal 9 (SIGKILL)"
    )
    assert (ok["status"], ok["attempt"]) == ("ok", 2)
    assert ok["proof"]["batches_checked"] == 1 + 3 + 150


def test_links_are_told_apart_whoever_comes_first_and_none_comes_twice() -> None:
    mine = order(stage=2, stages=3, previous=("pi2", "pi3"))
    said = [mine.link_digest(after=False, other=place) for place in (1, 0)]
    senders = [
        order(stage=1, stages=3, first=1, end=3, replica=place, replicas=2, onward=(("s", "", 1),))
        for place in (1, 0)
    ]
    assert said == [sender.link_digest(after=True) for sender in senders]
    for first, fits in ((said, True), (said[:1] * 2, False)):
        one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pairs = [tcp_pair() for _ in first]
        for digest, (_, far) in zip(first, pairs, strict=True):
            socket.send_fds(one, [digest.encode()], [far.fileno()])
        try:
            if fits:
                links = links_from_previous(two, mine)
                assert [link.peer for link in links] == ["pi2's stage 2", "pi3's stage 2"]
                assert links[1].sock.getpeername() == pairs[0][0].getsockname()
                for link in links:
                    link.close()
            else:
                with pytest.raises(ParetoPipeError, match="E_PLAN"):
                    links_from_previous(two, mine)
        finally:
            for sock in (one, two, *(end for pair in pairs for end in pair)):
                sock.close()


@pytest.mark.parametrize(
    ("least", "stages", "replicas", "transfer_s", "expected"),
    [
        (4, 2, 1, 0.0, 4),
        (5, 2, 1, 0.0, 6),
        (4, 3, 2, 0.0, 6),  # one more for the replica, as many for each, no multiple of five
        (3, 2, 2, 0.0, 4),
        (4, 2, 3, 0.0, 6),
        (4, 3, 2, 0.1, 8),
    ],
)
def test_replicas_get_equally_many_batches_in_flight(
    least: int, stages: int, replicas: int, transfer_s: float, expected: int
) -> None:
    assert filling_window(least, stages, transfer_s, 0.0, replicas) == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backend": "rpc"}, "backend rpc sends every batch to one host"),
        ({"again": True}, "has several hosts in 2 places, pi1+pi4 and pi2+pi3, expected one"),
        ({"allocator": "default"}, "pi3 has allocator default, device cpu and pi2 allocator tuned"),
    ],
)
def test_a_plan_that_batches_cannot_pass_in_turn_is_refused(
    changes: dict[str, Any], said: str
) -> None:
    def worker(host: str, **more: Any) -> dict[str, Any]:
        return {"host": host, "address": "192.0.2.1", "port": 1, **more}

    own = {"allocator": changes.pop("allocator")} if "allocator" in changes else {}
    first = (
        worker("pi1", replicas=[worker("pi4")]) if changes.pop("again", False) else worker("pi1")
    )
    plan = {
        **Cluster.plan(Cluster(Path(), b"", 1), **changes),
        "workers": [first, worker("pi2", replicas=[worker("pi3", **own)])],
    }
    with pytest.raises(ParetoPipeError, match="E_REPLICAS") as raised:
        read_plan(plan)
    assert said in raised.value.message
