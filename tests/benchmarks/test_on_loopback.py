"""The benchmark end to end, tiny: real nodes, every method, every kind of run; a round alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import parts, runner, transport
from benchmarks.node import Form
from paretopipe_runtime.errors import ParetoPipeError
from tests.benchmarks.conftest import BARE, BenchmarkCluster

SIZES = [4096, 65536, 2 * 1024 * 1024]
FORM = Form("ours", "tuned", 4096, pings=2, streams=3)
TOLD = 7.0


def test_every_method_moves_tensors_and_tells_its_times(nodes: BenchmarkCluster) -> None:
    methods = ["raw/default", "ours/tuned", "tls/tuned", "rpc/tuned", "pickle/default"]
    sizes = [{"nbytes": nbytes, "pings": 3, "streams": 4} for nbytes in SIZES]
    transport = {"rounds": 2, "budget_s": 30, "methods": methods, "sizes": sizes}
    seen: list[str] = []

    def step(what: str) -> bool:
        seen.append(what)
        return True

    rows, notes = parts.measure_transport(nodes.document(transport=transport), nodes.keys, step)
    assert notes == []
    assert len(rows) == len(seen) == 2 * len(methods) * len(SIZES)
    assert {(row["method"], row["nbytes"], row["round"]) for row in rows} == {
        (method, nbytes, round_) for method in methods for nbytes in SIZES for round_ in (1, 2)
    }
    for row in rows:
        assert row["one_way_s"] > 0
        assert (
            row["bytes_s"] == round(row["nbytes"] * 4 / row["stream_s"], -1) or row["bytes_s"] > 0
        )
        assert len(row["processor_s"]) == 2
        assert all(spent > 0 for spent in row["processor_s"])
        assert row.get("cipher", "").startswith("TLS_") == (row["method"] == "tls/tuned")
    # Another round begins with another method.
    assert seen[0].split()[1] != seen[len(methods) * len(SIZES)].split()[1]


def test_a_method_that_there_is_not_is_a_note(nodes: BenchmarkCluster) -> None:
    sizes = [{"nbytes": 4096, "pings": 1, "streams": 1}]
    transport = {"rounds": 1, "budget_s": 30, "methods": ["raw", "smoke"], "sizes": sizes}
    document = nodes.document(transport=transport)
    rows, notes = parts.measure_transport(document, nodes.keys, lambda _: True)
    assert [row["method"] for row in rows] == ["raw/tuned"]
    (note,) = notes
    assert note.startswith("transport: smoke, 4096 B: ")


@pytest.mark.parametrize(
    ("workers", "who"),
    [((BARE, "pi2"), f"{BARE}: this host"), (("pi1", BARE), f"pi1: {BARE}")],
)
def test_tls_without_a_certificate_is_a_note(
    nodes: BenchmarkCluster, workers: tuple[str, str], who: str
) -> None:
    sizes = [{"nbytes": 4096, "pings": 1, "streams": 1}]
    transport = {"rounds": 1, "budget_s": 30, "methods": ["ours", "tls"], "sizes": sizes}
    document = nodes.document(*workers, transport=transport)
    rows, notes = parts.measure_transport(document, nodes.keys, lambda _: True)
    assert [row["method"] for row in rows] == ["ours/tuned"]
    (note,) = notes
    assert note.startswith(f"transport: tls, 4096 B: E_TLS: {who} was given no certificate")


def test_pickle_and_alone_are_proved_runs(nodes: BenchmarkCluster) -> None:
    variants = ["alone", "socket", "pickle", "pickle/default"]
    case = {"model": "mobilenetv2", "cut": 3, "latency": 2, "throughput": 4, "variants": variants}
    document = nodes.document(pipeline={"rounds": 1, "budget_s": 120, "cases": [case]})
    code, sentence = runner.run(document, nodes.state_dir, nodes.keys)
    assert (code, sentence) == (0, "4 rows measured, 0 notes")
    result = json.loads(Path(document["result"]).read_text())
    rows = {row["variant"]: row for row in result["rows"]}
    assert list(rows) == variants
    records = read_records(document)
    for (variant, row), record in zip(rows.items(), records, strict=True):
        assert row["status"] == "ok"
        assert row["max_rel_err"] <= 1e-5
        assert record["proof"]["argmax_equal"]
        assert record["proof"]["batches_checked"] == 1 + 2 + 4
        assert record["factors"]["backend"] == variant.partition("/")[0]
        assert record["factors"]["allocators"] == 2 * [variant.partition("/")[2] or "tuned"]
        assert all(stage["latency"] > 0 and stage["throughput"] > 0 for stage in row["compute_s"])
        sent = 0 if variant == "alone" else 7 * row["hop_bytes"]
        assert record["hops"][0]["bytes_sent"] == record["hops"][0]["bytes_received"] == sent
    progress = json.loads(Path(document["progress"]).read_text())
    assert (progress["finished"], progress["runs_total"]) == (True, 4)


def test_what_fails_is_a_note_and_the_rest_is_measured(nodes: BenchmarkCluster) -> None:
    case = {"model": "mobilenetv2", "cut": 3, "latency": 1, "throughput": 1}
    document = nodes.document(
        pipeline={
            "rounds": 1,
            "budget_s": 120,
            "cases": [{**case, "variants": ["smoke", "socket"]}],
        }
    )
    code, sentence = runner.run(document, nodes.state_dir, nodes.keys)
    assert (code, sentence) == (0, "2 rows measured, 1 notes")
    result = json.loads(Path(document["result"]).read_text())
    assert [row["status"] for row in result["rows"]] == ["failed:E_BACKEND", "ok"]
    assert "smoke" in result["notes"][0]


def test_without_its_lease_it_stops(nodes: BenchmarkCluster, tmp_path: Path) -> None:
    case = {"model": "mobilenetv2", "cut": 3, "variants": ["socket"]}
    document = nodes.document(
        pipeline={"rounds": 1, "budget_s": 120, "cases": [case]}, lease=str(tmp_path / "none")
    )
    code, sentence = runner.run(document, nodes.state_dir, nodes.keys)
    assert code == 75
    assert "lost its controller" in sentence


def test_a_node_that_is_gone_is_one_sentence(nodes: BenchmarkCluster) -> None:
    case = {"model": "mobilenetv2", "cut": 3, "variants": ["socket"]}
    document = nodes.document(pipeline={"rounds": 1, "budget_s": 9, "cases": [case]})
    document["workers"][0]["port"] = 1
    with pytest.raises(ParetoPipeError, match="no worker agent answers"):
        runner.run(document, nodes.state_dir, nodes.keys)


def read_records(document: dict[str, Any]) -> list[dict[str, Any]]:
    lines = Path(document["records"]).read_text().splitlines()
    return [json.loads(line) for line in lines]


class Busy:
    """An end that takes a second of the processor for a tensor, and a tenth for a word."""

    cipher = None

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.did: list[str] = []
        self.told: list[float] = []
        self._spent = 0.0
        monkeypatch.setattr("benchmarks.transport.time.process_time", lambda: self._spent)

    def move(self) -> None:
        self._do("move", 1.0)

    def send_ack(self) -> None:
        self._do("ack", 0.1)

    def await_ack(self) -> None:
        self._do("ack", 0.1)

    def tell(self, seconds: float) -> None:
        self._do("tell", 0.1)
        self.told.append(seconds)

    def hear(self) -> float:
        self._do("hear", 0.1)
        return TOLD

    def _do(self, what: str, takes_s: float) -> None:
        self.did.append(what)
        self._spent += takes_s


def test_the_sender_counts_the_stream_and_hears_of_the_other_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    end = Busy(monkeypatch)
    times = transport.send_round(end, FORM)
    assert end.did == [*2 * ["move", "ack"], *3 * ["move"], "ack", "hear"]
    assert times["processor_s"] == pytest.approx([3.1, TOLD])
    assert len(times["one_way_s"]) == FORM.pings


def test_the_receiver_tells_of_the_stream_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    end = Busy(monkeypatch)
    transport.receive_round(end, FORM)
    assert end.did == [*2 * ["move", "ack"], *3 * ["move"], "ack", "tell"]
    assert end.told == pytest.approx([3.1])
