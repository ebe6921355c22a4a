"""Runs over TLS, end to end: the same answers, every hop encrypted, and no way back to plain."""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator import pipeline, postmortem, profile_link
from paretopipe_runtime.orchestrator.drive import drive
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from paretopipe_runtime.orchestrator.prepared import prepare
from paretopipe_runtime.orchestrator.runs import expand
from paretopipe_runtime.wire import connect, handshake
from paretopipe_runtime.wire.keys import Keys
from tests.certificates import Authority
from tests.runtime.cluster import ADDRESSES, Cluster
from tests.runtime.test_pipeline import no_stage_left, runs, sweep, wait_until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster.running(tmp_path_factory.mktemp("tls"), tls=True, forked=True) as made:
        yield made


@pytest.fixture(scope="module")
def plan(cluster: Cluster) -> dict[str, Any]:
    document = cluster.plan(transport="tls", cell_id="mobilenetv2.socket.pi_to_pi.baseline.tls")
    prepare_cells([document], cluster.state_dir, cluster.keys, lambda _: None)
    return document


def test_a_cell_is_measured_over_tls(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path
) -> None:
    done = sweep(cluster, tmp_path, {**plan, "end_points": True, "repeats": 1})
    assert done.returncode == 0, done.stderr
    rows = runs(tmp_path)
    assert len(rows) == 4  # two splits, and everything on either host
    for row in rows:
        assert (row["status"], row["security"]) == ("ok", "tls")
        assert row["factors"]["transport"] == "tls"
        assert row["proof"]["argmax_equal"]
        assert row["proof"]["max_rel_err"] <= 1e-5
        for hop in row["hops"]:
            assert hop["cipher"].startswith("TLS_")
            # The proof is of what was encrypted, not of what that became.
            assert hop["bytes_planned"] == hop["bytes_received"] > 0
    wait_until(lambda: no_stage_left(cluster), 5)


def test_the_same_agents_serve_plain_runs(cluster: Cluster, tmp_path: Path) -> None:
    document = cluster.plan(splits=[[3]], repeats=1)
    prepare_cells([document], cluster.state_dir, cluster.keys, lambda _: None)
    assert sweep(cluster, tmp_path, document).returncode == 0
    (row,) = runs(tmp_path)
    assert row["security"] == "hmac"
    assert "transport" not in row["factors"]
    assert not any("cipher" in hop for hop in row["hops"])


def test_a_link_is_profiled_over_tls(cluster: Cluster) -> None:
    document = {
        **cluster.plan(transport="tls"),
        **{"kind": "link", "cell_id": "link.pi1-pi2.socket.tls", "repeats": 1, "batches": 4},
        "payload_bytes": [4096, 4 * 1024 * 1024],
    }
    work = profile_link.work_of(document)
    (run,) = work.runs
    assert run.factors["transport"] == "tls"
    row = work.measure(run, cluster.keys, "link")
    assert (row["status"], row["security"]) == ("ok", "tls")


def test_only_tls_is_in_a_runs_key(cluster: Cluster) -> None:
    def keys(**changes: Any) -> list[str]:
        return [run.key for run in expand(read_plan(cluster.plan(**changes)), lambda _: [1])]

    assert keys() == keys(transport="plain")
    assert not set(keys()) & set(keys(transport="tls"))


@pytest.mark.parametrize("backend", ["rpc", "rpc_hub"])
def test_pytorch_rpc_cannot_have_it(cluster: Cluster, backend: str) -> None:
    hub = {"host": "pi1", "address": ADDRESSES["pi1"], "port": cluster.port}
    with pytest.raises(ParetoPipeError, match=r"E_TRANSPORT.*backend=socket"):
        read_plan(cluster.plan(transport="tls", backend=backend, hub=hub))
    with pytest.raises(ParetoPipeError, match=r"E_TRANSPORT.*plain, tls"):
        read_plan(cluster.plan(transport="ssl"))


def failure(cluster: Cluster, document: dict[str, Any], keys: Keys) -> ParetoPipeError:
    """Return how one run fails."""
    plan = read_plan(document)
    prepared = prepare(plan.workload, cluster.state_dir)
    (run, *_) = expand(plan, prepared.hop_bytes)
    with pytest.raises(ParetoPipeError) as caught:
        drive(plan, run, prepared, keys, secrets.token_hex(8))
    wait_until(lambda: no_stage_left(cluster), 5)
    return caught.value


def test_an_orchestrator_without_a_certificate_is_told(
    cluster: Cluster, plan: dict[str, Any]
) -> None:
    error = failure(cluster, plan, Keys(cluster.key))
    assert error.code == "E_TLS"
    assert "this host was given no certificate" in error.message
    assert "provision" in error.message


@pytest.mark.parametrize("wrong", ["authority", "expired", "address"])
def test_an_orchestrator_that_is_not_believed_measures_nothing(
    cluster: Cluster, plan: dict[str, Any], tmp_path: Path, wrong: str
) -> None:
    other = Authority.made(tmp_path)
    identity = {
        "authority": other.identity("orchestrator", "127.0.0.1"),
        "expired": cluster.authority.identity("late", "127.0.0.1", days=-1),
        "address": cluster.authority.identity("elsewhere", "192.0.2.1"),
    }[wrong]
    error = failure(cluster, plan, Keys(cluster.key, identity))
    assert error.code == "E_TLS", error


@pytest.mark.parametrize(("planned", "used"), [("tls", "plain"), ("plain", "tls")])
def test_a_plan_is_not_obeyed_over_the_other_transport(
    cluster: Cluster,
    plan: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    planned: str,
    used: str,
) -> None:
    """An orchestrator that says one thing and does the other, as if someone had talked it into."""
    really = connect.open_channel

    def otherwise(*arguments: Any, transport: str, **others: Any) -> Any:
        assert transport == planned
        return really(*arguments, transport=used, **others)

    monkeypatch.setattr(pipeline, "open_channel", otherwise)
    document = plan if planned == "tls" else cluster.plan()
    error = failure(cluster, document, cluster.keys)
    assert error.code == "E_TRANSPORT", error


@pytest.mark.parametrize("more", [b"", b"\x00"], ids=["stalls", "trickles"])
def test_a_stranger_with_a_client_hello_costs_what_any_other_does(
    cluster: Cluster, more: bytes
) -> None:
    """It is no paretopipe peer: it is closed on at its first sixteen bytes, without a word."""
    hello = ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger = context.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="pi1")
    with contextlib.suppress(ssl.SSLWantReadError):
        stranger.do_handshake()
    address = (ADDRESSES["pi1"], cluster.port)
    began = time.monotonic()
    with contextlib.ExitStack() as crowd:
        socks = [
            crowd.enter_context(socket.create_connection(address, timeout=10)) for _ in range(8)
        ]
        for sock in socks:
            sock.sendall(hello.read() if sock is socks[0] else b"\x16\x03\x01" + more)
        # A peer is let in meanwhile, over TLS.
        worker = read_plan(cluster.plan(transport="tls")).chain.workers[0]
        assert postmortem.end(worker, "nobody", cluster.keys, 10)[0] == []
        for sock in socks:
            heard = b"?"
            with contextlib.suppress(ConnectionResetError):
                heard = sock.recv(1)
            assert heard in (b"", b"?")
    assert time.monotonic() - began < handshake.LIMIT_S + 4
    assert "not a paretopipe peer" in cluster.log("pi1")


def test_who_has_the_key_and_stalls_before_tls_is_given_up(cluster: Cluster) -> None:
    identity = cluster.identities["orchestrator"]
    hello = {"role": "end", "run_id": "x", "transport": "tls", "certificate": identity.fingerprint}
    address = (ADDRESSES["pi1"], cluster.port)
    sock, _ = handshake.connect(address, cluster.key, hello, timeout=5)
    began = time.monotonic()
    with sock:
        sock.settimeout(connect.TLS_TIMEOUT_S + 10)
        assert sock.recv(1) == b""
    closed = time.monotonic()
    assert closed - began < connect.TLS_TIMEOUT_S + 3
    while "had not agreed on TLS" not in cluster.log("pi1"):  # said after it is closed
        assert time.monotonic() < closed + 5, cluster.log("pi1")
        time.sleep(0.05)


def test_a_hello_that_names_no_certificate_is_refused(cluster: Cluster) -> None:
    for said in ({"transport": "tls"}, {"transport": "tls", "certificate": 7}, {"transport": []}):
        address = (ADDRESSES["pi1"], cluster.port)
        sock, _ = handshake.connect(address, cluster.key, {"role": "end", **said}, timeout=5)
        with sock:
            sock.settimeout(5)
            assert sock.recv(1) == b""
    deadline = time.monotonic() + 5
    while "E_TRANSPORT" not in cluster.log("pi1"):
        assert time.monotonic() < deadline, cluster.log("pi1")
        time.sleep(0.05)
