"""From measured rows to figures, verdicts and text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import tables
from benchmarks.bars import Bar, bars
from benchmarks.limits import Limit, Link, Row, Spread, counted, link_busy
from paretopipe_runtime.errors import ParetoPipeError
from tests.made.benchmarks import ROUNDS, everything, result, run, transport


def by_name() -> dict[str, Bar]:
    return {bar.what: bar for bar in bars(counted(everything()))}


def spread(*values: float) -> Spread | None:
    return Spread.of([{"x": value} for value in values], "x")


def of_gigabit(*rows: Row) -> list[Row]:
    return counted({"gigabit": result("gigabit", list(rows))})


def test_the_limit_is_stages_wire_and_delay() -> None:
    limit = Limit(0.04, 0.05, lone_wire=0.01, wire=0.012, delay=0.2)
    assert limit.latency_s == pytest.approx(0.3)
    assert limit.pace_s == 0.05
    assert limit.makespan_s(11) == pytest.approx(0.8)


def test_what_a_raw_socket_costs_is_the_stage_s_and_a_burst_the_lone_batch_s() -> None:
    link = Link(1000.0, None, 0, burst_bytes=448_000, raw_s_byte=(1e-8, 2e-8))
    limit = Limit.of((0.04, 0.03), 1_448_000, link)
    assert limit.lone_wire == pytest.approx(link.wire_s(1_000_000))
    assert limit.pace_s == pytest.approx(0.03 + 0.02896)


def test_the_resting_limit_is_of_stages_that_have_the_processor_to_themselves() -> None:
    _, row = of_gigabit(run("alone", 1, 0.1, 0.05), run("socket", 1, 0.2, 0.05))
    assert row["latency / limit"] == pytest.approx(0.2 / (0.040 + 0.012112 + 0.050))
    assert row["latency / resting"] == pytest.approx(0.2 / (0.030 + 0.012112 + 0.045))


def test_the_wire_carries_headers_too_and_an_unshaped_one_what_raw_moved() -> None:
    assert Link(1000.0, None, 0).wire_s(1_448_000) == pytest.approx(0.012112)
    raw = [transport("raw/default", 1000, round_, 1e-6 * round_) for round_ in ROUNDS]
    link = Link.of(result("unshaped", raw))
    assert link.wire_s(2_000) == pytest.approx(4e-6)


@pytest.mark.parametrize(
    ("other", "has"),
    [
        (run("socket", 1, 0.1, 0.05), True),
        (run("socket", 2, 0.1, 0.05), False),
        (run("socket/default", 1, 0.1, 0.05), False),
        (run("socket", 1, 0.1, 0.05, split="P4"), False),
    ],
    ids=["its own", "another round", "another allocator", "another split"],
)
def test_a_limit_comes_from_the_same_round_and_the_same_allocator(other: Row, has: bool) -> None:
    _, row = of_gigabit(run("alone", 1, 0.1, 0.05), other)
    assert ("latency / limit" in row) is has


def test_ratios_are_taken_within_a_round() -> None:
    some = [
        run("socket", round_, seconds, 1) for round_, seconds in ((1, 2.0), (2, 30.0), (3, 1.0))
    ]
    others = [run("rpc", round_, seconds, 1) for round_, seconds in ((1, 1.0), (2, 10.0))]
    rows = of_gigabit(*some, *others)[:3]
    assert Spread.of(rows, "latency / rpc") == Spread(2.5, 2.0, 3.0, 2)
    assert Spread.of(of_gigabit(*some), "latency / rpc") is None


def test_the_busy_share_cannot_exceed_what_the_wire_took() -> None:
    # Ten batches of 0.5 s on a link that is open for exactly 5 s, then for 10 s.
    link = Link(8e-6 * 1_448_000 * 1514 / 1448 / 0.5, None, 0.2)
    row = run("socket", 1, 1.0, 0.5, makespan_s=0.04 + 0.05 + 0.2 + 5.0)
    assert link_busy(row, link) == pytest.approx(1.0)
    assert link_busy({**row, "makespan_s": 10.29}, link) == pytest.approx(0.5)


def test_a_run_that_does_not_count_is_left_out() -> None:
    rows = of_gigabit(
        run("socket", 1, 0.1, 0.05), run("socket", 2, 9.9, 9.9, status="failed:E_STALL")
    )
    assert [row["round"] for row in rows] == [1]


def test_every_bar_gets_its_figure_and_its_verdict() -> None:
    seen = by_name()
    verdicts = {what: bar.verdict for what, bar in seen.items()}
    assert verdicts["unshaped: our throughput / raw, 32 MB"] == "pass"
    assert verdicts["unshaped: RPC's one-way time / ours, 32 MB"] == "pass"
    assert verdicts["gigabit: RPC's one-way time / ours, 256 KB"] == "not measured"
    latency = seen["gigabit: mobilenetv2 P3: latency / limit"]
    assert latency.seen is not None
    assert latency.seen.median == pytest.approx(0.1032 / 0.102112)
    assert latency.seen.n == len(ROUNDS)
    assert latency.verdict == "pass"
    throughput = seen["gigabit: mobilenetv2 P3: throughput / limit"]
    assert throughput.seen is not None
    assert throughput.seen.median == pytest.approx(50 / 51)
    assert verdicts["gigabit: mobilenetv2 P3: latency / RPC's"] == "pass"
    assert verdicts["gigabit: mobilenetv2 P3: throughput / the paper's method"] == "pass"
    assert verdicts["gigabit: mobilenetv2 P3: latency / the paper's method"] == "pass"
    assert verdicts["gigabit: resnet18 P6: throughput / the paper's method"] == "not measured"
    transfer = seen["wan: mobilenetv2 P3: warm transfer / theory"]
    assert transfer.seen is not None
    assert transfer.seen.median == pytest.approx(2.7 / 2.6224, rel=1e-4)
    assert verdicts["wan: mobilenetv2 P3: link busy when saturated"] == "pass"
    assert verdicts["vgg16 P5 stage 1: peak memory"] == "pass"
    memory = seen["vgg16 P5 stage 2: peak memory"].seen
    assert memory is not None
    assert memory.median == pytest.approx(600 / 500)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.99, 1.00, 1.01], "pass"),
        ([0.99, 1.02, 1.03], "pass (tie)"),
        ([1.01, 1.02, 1.03], "**falls short**"),
        ([], "not measured"),
    ],
)
def test_not_behind_is_missed_only_when_every_round_is_behind(
    values: list[float], verdict: str
) -> None:
    assert Bar(2, "latency / RPC's", spread(*values), most=1.0, tie=True).verdict == verdict


def test_without_leave_to_tie_the_median_decides() -> None:
    assert Bar(2, "", spread(0.99, 1.04, 1.05), most=1.03).verdict == "**falls short**"
    assert Bar(1, "", spread(0.90, 0.96, 0.97), least=0.95).verdict == "pass"


def test_the_text_holds_what_was_measured(tmp_path: Path) -> None:
    results = everything()
    paths = []
    for name, one in results.items():
        paths.append(tmp_path / f"{name}.result.json")
        paths[-1].write_text(json.dumps(one))
    tables.write(paths, tmp_path / "out")
    text = (tmp_path / "out/results.md").read_text()
    assert "commit 0123456789ab; runtime 0.1.0+abcdef;" in text
    assert "virtual testbed: 100 % of one processor" in text
    assert "| 4 MB   | ours/tuned" in text
    assert "1.02 (1.02–1.02)" in text
    assert "2.00 (2.00–2.00)" in text  # onnxruntime's speed-up
    assert "- gigabit: rpc_hub: it would not start" in text
    assert "quick" not in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in lines)
    kept = json.loads((tmp_path / "out/results.json").read_text())
    assert kept["gigabit"]["rows"][0]["variant"] == "alone"
    # What is kept gives the same text again.
    for path, name in zip(paths, results, strict=True):
        path.write_text(json.dumps(kept[name]))
    tables.write(paths, tmp_path / "again")
    assert (tmp_path / "again/results.md").read_text() == text


def test_what_tls_costs_stands_in_the_transport_s_table() -> None:
    lines = list(tables.text(everything()))
    (row,) = [line for line in lines if line.startswith("| 4 MB   | tls/tuned")]
    cells = [text.strip() for text in row.strip("|").split("|")]
    assert cells[2:] == [
        *("16.777 (16.777–16.777)", "4.00 (4.00–4.00)"),
        *("250 (250–250)", "0.25 (0.25–0.25)"),
        *("1.50 (1.50–1.50)", "2.25 (2.25–2.25)", "3"),
    ]
    assert "encrypted with TLS_AES_128_GCM_SHA256." in lines


def test_rows_from_before_the_processor_was_watched_have_a_dash_there() -> None:
    rows = [transport("raw/default", 4096, 1, 1e-4)]
    lines = list(tables.text({"unshaped": result("unshaped", rows)}))
    (row,) = [line for line in lines if line.startswith("| 4 KB   | raw/default")]
    assert [text.strip() for text in row.strip("|").split("|")][-3:] == ["–", "–", "1"]
    assert not any("TLS" in line for line in lines)


def test_a_quick_run_says_that_it_is_no_result(tmp_path: Path) -> None:
    path = tmp_path / "wan.result.json"
    path.write_text(json.dumps(result("wan", [], quick=True)))
    tables.write([path], tmp_path)
    assert "Nothing here is a result" in (tmp_path / "results.md").read_text()


def test_another_schema_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "wan.result.json"
    path.write_text(json.dumps({"schema_version": 2}))
    with pytest.raises(ParetoPipeError, match=r"E_SCHEMA: .* measure again with `make bench`"):
        tables.write([path], tmp_path)
