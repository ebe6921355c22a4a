"""Whole runs of processes through a relay: proved right, as late as asked, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from paretopipe_runtime.contract.plan import Plan, read_plan
from paretopipe_runtime.contract.units import transfer_s
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.job import Lease
from paretopipe_runtime.orchestrator import profile_blocks, profile_link
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from paretopipe_runtime.orchestrator.loop import SweepFiles, measure
from paretopipe_runtime.orchestrator.runs import expand
from paretopipe_runtime.wire.frames import Tensor
from paretopipe_runtime.wire.keys import Keys
from paretopipe_runtime.worker.order import StageOrder
from tests.relay.conftest import started
from tests.runtime.cluster import ADDRESSES, Cluster
from tests.runtime.test_pipeline import runs, sweep

DELAY_S = 0.05
NETEM = {"delay": "50ms", "rate": "50mbit", "jitter": "0ms", "loss": "0%", "direction": "egress"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster.running(tmp_path_factory.mktemp("relayed"), tls=True) as made:
        yield made


def document(cluster: Cluster, relay: dict[str, Any] | None, **changes: Any) -> dict[str, Any]:
    scenario = {"name": "metro", "netem": NETEM, "measured": None, "relay": relay}
    return cluster.plan(
        **{
            "emulation": "processes",
            "scenario": scenario,
            "splits": [[17]],
            "repeats": 1,
            **changes,
        }
    )


def test_a_cell_is_measured_through_a_relay(cluster: Cluster, tmp_path: Path) -> None:
    targets = {name: (address, cluster.port) for name, address in ADDRESSES.items()}
    options = ("--delay", "50ms", "--rate", "50mbit")
    with started(tmp_path, targets, *options) as relay:
        for transport in ("plain", "tls"):
            (folder := tmp_path / transport).mkdir()
            plan = document(cluster, relay.document, transport=transport, end_points=True)
            prepare_cells([plan], cluster.state_dir, cluster.keys, lambda _: None)
            done = sweep(cluster, folder, plan)
            assert done.returncode == 0, done.stderr
            rows = {row["factors"]["split"]: row for row in runs(folder)}
            # What leaves pi1 is its activations and, with everything on it, its predictions.
            assert set(rows) == {"P17", "all on pi1", "all on pi2"}
            for row in rows.values():
                assert row["status"] == "ok"
                assert row["proof"]["argmax_equal"]
                assert row["factors"]["emulation"] == "processes"
                least_s = DELAY_S + transfer_s(row["hops"][0]["bytes_per_batch"], 50)
                assert min(row["latency"]["batch_s"]) >= least_s
                assert min(row["network_s"]["latency"]) >= DELAY_S
            assert rows["P17"]["security"] == ("tls" if transport == "tls" else "hmac")
    # It is gone: the same cell is not measured past it.
    (folder := tmp_path / "gone").mkdir()
    done = sweep(cluster, folder, document(cluster, relay.document))
    assert done.returncode == 1
    assert {row["status"] for row in runs(folder)} == {"failed:E_CONNECT"}
    assert "gives no connection to pi1: it has ended with its lease" in done.stderr


@pytest.mark.parametrize(
    ("netem", "named", "sentence"),
    [
        (NETEM, False, "names no relay, and its scenario metro is one that a relay shapes"),
        (None, True, "names a relay, and its scenario metro is none that a relay shapes"),
    ],
)
def test_processes_are_not_measured_past_a_relay_nor_through_a_stale_one(
    tmp_path: Path, netem: dict[str, Any] | None, named: bool, sentence: str
) -> None:
    relay = {"relay": {"host": "pi1", "ways": WAYS}} if named else {}
    plan = chain("pi1", "pi2", scenario={"name": "metro", "netem": netem, **relay})
    files = SweepFiles(tmp_path / "records", None, None, Lease(None, 0), tmp_path)
    with pytest.raises(ParetoPipeError, match=sentence):
        measure({**plan.document, "emulation": "processes"}, files, Keys(b""))


WAYS = {name: ["127.0.76.101", 1000 + n] for n, name in enumerate(("pi1", "pi2", "server"))}


def chain(*hosts: str, **changes: Any) -> Plan:
    workers = [{"host": host, "address": "192.0.2.9", "port": 1} for host in hosts]
    relay = {"host": "pi1", "ways": WAYS}
    return read_plan(
        {
            **Cluster(Path(), b"", 1).plan(),
            "workers": workers,
            "scenario": {"name": "metro", "netem": NETEM, "relay": relay},
            "splits": [[*range(1, len(hosts))]],
            **changes,
        }
    )


def test_a_relay_of_a_later_hop_is_passed_by_that_hop_alone() -> None:
    scenario = {"name": "metro", "netem": None, "later_hops": [{"netem": NETEM}]}
    relay = {"host": "pi2", "ways": WAYS}
    plan = chain("pi1", "pi2", "server", scenario={**scenario, "relay": relay})
    assert [plan.chain.via(worker) for worker in plan.chain.workers] == [None] * 3
    ways = [plan.chain.onward(stage, 3)["via"] for stage in (0, 1)]
    assert ways == [None, ("127.0.76.101", 1002)]


@pytest.mark.parametrize(
    ("hosts", "control", "links"),
    [
        (("pi1", "pi2"), [1000, None], [1001]),
        (("pi2", "server"), [None, None], [None]),
        (("pi2", "pi1", "server"), [None, 1000, None], [1000, 1002]),
    ],
)
def test_only_the_shaped_host_s_connections_go_through_it(
    hosts: tuple[str, ...], control: list[int | None], links: list[int | None]
) -> None:
    plan = chain(*hosts)
    ways = [plan.chain.via(worker) for worker in plan.chain.workers]
    assert [way and way[1] for way in ways] == control
    onward = [plan.chain.onward(stage, len(hosts)) for stage in range(len(hosts))]
    assert [told["via"] and told["via"][1] for told in onward[:-1]] == links
    # Who has to be at the other end does not change by the way to it.
    assert [told["next_stage"][:2] for told in onward[:-1]] == [
        (host, "192.0.2.9") for host in hosts[1:]
    ]
    assert onward[-1] == {"next_stage": None}


def test_the_hub_s_order_leads_to_the_first_stage() -> None:
    plan = chain("pi1", "pi2", scenario={"name": "baseline", "netem": None})
    assert plan.chain.onward(-1, 2) == {"next_stage": ("pi1", "192.0.2.9", 1), "via": None}


def test_a_relay_that_does_not_fit_the_plan_is_refused() -> None:
    lacking = {"host": "pi1", "ways": {"pi1": WAYS["pi1"]}}
    with pytest.raises(ParetoPipeError, match=r"E_PLAN: .*KeyError 'pi2'"):
        chain("pi1", "pi2", scenario={"name": "metro", "netem": NETEM, "relay": lacking})
    with pytest.raises(ParetoPipeError, match="E_BACKEND: backend rpc through a relay"):
        chain("pi1", "pi2", backend="rpc")


def test_a_relay_is_in_no_key_and_what_the_hosts_are_is_in_every_one() -> None:
    def keys(**changes: Any) -> set[str]:
        return {run.key for run in expand(chain("pi1", "pi2", **changes), lambda _: [1])}

    assert keys() == keys(scenario={"name": "metro", "netem": NETEM})
    assert not keys() & keys(emulation="processes")


def test_profiles_of_processes_are_keyed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_blocks, "prepare", lambda *_: SimpleNamespace(flops=[1]))
    plan = {**Cluster(Path(), b"", 1).plan(), "batches": 2, "payload_bytes": [4096]}
    for work_of in (
        lambda document: profile_link.work_of({**document, "kind": "link"}),
        lambda document: profile_blocks.work_of({**document, "kind": "profile"}, Path()),
    ):
        ordinary, emulated = work_of(plan).runs, work_of({**plan, "emulation": "processes"}).runs
        assert not {sample.key for sample in ordinary} & {sample.key for sample in emulated}
        for one, other in zip(ordinary, emulated, strict=True):
            assert other.factors == {**one.factors, "emulation": "processes"}


def test_an_order_keeps_its_way() -> None:
    form = Tensor((1, 1), "float32", 4)
    order = StageOrder(
        **{"run_id": "r", "stage": 0, "stages": 2, "backend": "socket", "engine": "eager"},
        **{"allocator": "tuned", "model": "mobilenetv2", "classes": 10, "manifest": {}},
        **{"first": 0, "end": 1, "takes": form, "gives": form, "input_batches": 1},
        **{"input_seed": 0, "image_px": 0, "io_timeout_s": 1.0, "idle_timeout_s": 1.0},
        **{"next_stage": ("pi2", "192.0.2.12", 5), "via": ("127.0.0.1", 6)},
    )
    message = order.to_message()
    assert StageOrder.from_message(message) == order
    for wrong in ("127.0.0.1:6", ["127.0.0.1"], ["127.0.0.1", "x"], 5):
        with pytest.raises(ParetoPipeError, match="E_LAUNCH"):
            StageOrder.from_message({**message, "via": wrong})
