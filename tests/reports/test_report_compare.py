"""Comparisons of backends, engines and allocators: like with like, with planted numbers."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from paretopipe_runtime.contract.factors import ALLOCATOR, BACKEND, ENGINE, TRANSPORT, Factor
from paretopipe_runtime.contract.lines import Record
from reports.data.cells import Cell, build
from reports.data.factors import Naming
from reports.data.records import read
from reports.data.tidy import tidy
from reports.page.render import pages
from reports.page.sections import memory
from reports.page.sections.comparisons import breakdown, compare, contrast
from reports.page.sections.comparisons import build as comparisons
from reports.page.sections.methods import proof
from reports.page.sections.verdict.notes import notes
from reports.page.sheet import Sheet
from tests.reports import synthetic_sweep as synthetic
from tests.reports.conftest import MODEL

TUNED = ("tuned", "tuned")


def shown(folder: Path) -> tuple[list[Cell], pd.DataFrame]:
    records = read(folder)
    frame = tidy(records.runs)
    return build(records.plans, records.runs, frame), frame


def said(folder: Path, factor: Factor) -> list[str]:
    """Return the sentences of comparisons by a factor."""
    cells, frame = shown(folder)
    found = (contrast.draw(item, frame, 0.02) for item in compare.find(cells, factor))
    return [str(text).replace("\xa0", " ") for item in found for text in contrast.sentences(item)]


def plant(
    folder: Path,
    kind: tuple[str, str, Sequence[str]],
    values: dict[int, Sequence[tuple[float, float]]],
    **plan: object,
) -> list[Record]:
    """Write a cell with known latency and throughput of each run."""
    backend, engine, allocators = kind
    lines = [
        *synthetic.cell(
            random.Random(1),
            splits=[[k] for k in values],
            repeats=len(next(iter(values.values()))),
            backend=backend,
            engine=engine,
            allocators=allocators,
            **plan,  # type: ignore[arg-type]
        )
    ]
    for line in lines[1:]:
        factors = line["factors"]
        pair = values[factors["cuts"][0]][factors["repeat"] - 1]
        line["latency"]["median_s"], line["throughput"]["img_s"] = pair
    synthetic.write_cell(folder, lines)
    return lines


# Five runs of three splits, with a spread of 1 %.
SPREAD = (0.99, 1.0, 1.01, 0.995, 1.005)


def planted_pair(folder: Path, **plan: object) -> None:
    """Plant latency ratios of 1.2, 1.0 and 0.8, and throughput ratios of 1.0, 1.5 and 1.0."""

    def runs(latency: float, throughput: float) -> list[tuple[float, float]]:
        return [(latency * one, throughput * one) for one in SPREAD]

    plant(
        folder,
        ("socket", "eager", TUNED),
        {3: runs(1.0, 8.0), 9: runs(2.0, 4.0), 17: runs(4.0, 2.0)},
    )
    plant(
        folder,
        ("rpc", "eager", TUNED),
        {3: runs(1.2, 8.0), 9: runs(2.0, 6.0), 17: runs(3.2, 2.0)},
        **plan,
    )


def test_the_sentence_has_the_planted_ratios_and_verdicts(tmp_path: Path) -> None:
    planted_pair(tmp_path)
    assert said(tmp_path, BACKEND) == [
        "With PyTorch RPC, the latency is 0.800 to 1.20 times that with TCP sockets over 3 splits "
        "(median 1.00): equal within 2.0 % at P9, lower at P17, higher at P3. The throughput is "
        "1.00 to 1.50 times that with TCP sockets over 3 splits (median 1.00): equal within 2.0 % "
        "at P3 and P17, higher at P9."
    ]


def test_a_difference_that_the_runs_do_not_show_is_undecided(tmp_path: Path) -> None:
    wild = [(1.0, 8.0), (1.1, 7.0), (0.9, 9.0)]
    plant(tmp_path, ("socket", "eager", TUNED), {3: wild, 9: wild, 17: wild})
    more = [(latency * 1.03, throughput) for latency, throughput in wild]
    plant(tmp_path, ("rpc", "eager", TUNED), {3: more, 9: more, 17: more})
    [text] = said(tmp_path, BACKEND)
    assert "the latency is 1.03 times that with TCP sockets over 3 splits: undecided at all" in text


def test_one_run_a_split_has_a_ratio_and_no_interval(tmp_path: Path) -> None:
    plant(tmp_path, ("socket", "eager", TUNED), {3: [(1.0, 8.0)], 9: [(2.0, 4.0)]})
    plant(tmp_path, ("rpc", "eager", TUNED), {3: [(1.5, 8.0)], 9: [(3.0, 4.0)]})
    cells, frame = shown(tmp_path)
    [found] = compare.find(cells, BACKEND)
    table = contrast.table(contrast.draw(found, frame, 0.02))
    assert [row.entries[2].text for row in table.rows] == ["? undecided 1.50"] * 2


def test_the_table_has_every_median_range_and_ratio_with_its_verdict(tmp_path: Path) -> None:
    planted_pair(tmp_path)
    cells, frame = shown(tmp_path)
    table = contrast.table(contrast.draw(compare.find(cells, BACKEND)[0], frame, 0.02))
    assert [column.unit for column in table.columns] == [
        *("", "s, TCP sockets", "s, PyTorch RPC", "PyTorch RPC / TCP sockets"),
        *("images/s, TCP sockets", "images/s, PyTorch RPC", "PyTorch RPC / TCP sockets"),
    ]
    first = [entry.text.replace("\xa0", " ") for entry in table.rows[0].entries]
    assert first[:2] == ["1.00 [0.99, 1.01]", "1.20 [1.19, 1.21]"]
    assert re.fullmatch(r"↑ higher 1\.20 \[1\.1\d, 1\.2\d\]", first[2])
    assert first[3:5] == ["8.00 [7.92, 8.08]", "8.00 [7.92, 8.08]"]
    assert re.fullmatch(r"= equal 1\.00 \[0\.9\d, 1\.0\d\]", first[5])
    assert [float(row.entries[2].value) for row in table.rows] == pytest.approx([1.2, 1.0, 0.8])


def test_the_breakdown_has_each_backend_where_it_moves_most(tmp_path: Path) -> None:
    planted_pair(tmp_path)
    cells, _ = shown(tmp_path)
    found = breakdown.of(compare.find(cells, BACKEND)[0])
    # Both move most at P3: 8 images/s, in 1.0 s and in 1.2 s.
    assert [(kind["name"], kind["split"].name) for kind in found["kinds"]] == [
        *(("TCP sockets", "P3"), ("PyTorch RPC", "P3")),
    ]
    assert [line["label"] for line in found["lines"]] == [
        *("Stage 1 compute, pi1", "Stage 2 compute, pi2", "Network, all hops"),
        *("Stage 1 CPU, pi1", "Stage 2 CPU, pi2", "Latency", "Throughput"),
    ]
    values = {
        line["label"]: [text.replace("\xa0", " ") for text in line["values"]]
        for line in found["lines"]
    }
    assert values["Latency"] == ["1.00 [0.99, 1.01]", "1.20 [1.19, 1.21]"]
    [sentence] = (re.sub("<[^>]+>", "", text).replace("\xa0", " ") for text in found["sentences"])
    assert sentence == (
        "TCP sockets at P3 against PyTorch RPC at P3: latency 17 % lower, throughput the same."
    )
    assert "latency 76\xa0% lower and throughput 53\xa0% higher" in found["paper"]


def test_the_papers_case_is_named_only_where_it_was_measured(tmp_path: Path) -> None:
    values = {3: [(1.0, 8.0)] * 3}
    plant(tmp_path, ("socket", "eager", TUNED), values, scenario="wan")
    plant(tmp_path, ("rpc", "eager", TUNED), values, scenario="wan")
    [found] = compare.find(shown(tmp_path)[0], BACKEND)
    assert breakdown.of(found)["paper"] == ""


@pytest.mark.parametrize(
    ("plan", "difference"),
    [
        ({"window": 1}, "window 1 against 4"),
        ({"image_px": 32}, "image px 32 against 224"),
        ({"batch_size": 4}, "batch size 4 against 8"),
    ],
)
def test_unlike_cells_are_not_compared_and_it_is_said_why(
    tmp_path: Path, plan: dict[str, object], difference: str
) -> None:
    planted_pair(tmp_path, **plan)
    cells, _ = shown(tmp_path)
    assert compare.find(cells, BACKEND) == []
    assert compare.unmatched(cells, BACKEND) == [
        "PyTorch RPC under baseline (Pi-to-Pi) is not compared with TCP sockets, because more "
        f"than that differs: {difference}."
    ]
    assert comparisons(Sheet.of(read(tmp_path)))[0]["items"] == []


def test_another_allocator_is_another_cell_and_never_the_backends_doing(tmp_path: Path) -> None:
    values = {3: [(1.0, 8.0)] * 3}
    plant(tmp_path, ("socket", "eager", TUNED), values)
    plant(tmp_path, ("rpc", "eager", ("default", "default")), values)
    cells, _ = shown(tmp_path)
    assert compare.find(cells, BACKEND) == compare.find(cells, ALLOCATOR) == []
    told = compare.unmatched(cells, BACKEND)
    assert told[0].endswith("differs: allocators default+default against tuned+tuned.")


def test_splits_with_fewer_batches_are_not_compared(tmp_path: Path) -> None:
    values = {3: [(1.0, 8.0)] * 3, 9: [(2.0, 4.0)] * 3, 17: [(4.0, 2.0)] * 3}
    plant(tmp_path, ("socket", "eager", TUNED), values, scenario="wan")
    lines = plant(tmp_path, ("rpc", "eager", TUNED), values, scenario="wan")
    for line in lines[1:]:
        if line["factors"]["cuts"] == [9]:
            line["factors"]["throughput_batches"] = 6
    synthetic.write_cell(tmp_path, lines)
    (found,) = compare.find(shown(tmp_path)[0], BACKEND)
    assert [split.name for split in found.splits] == ["P3", "P17"]


def test_the_hub_is_compared_as_the_backend_it_is(kinds_sweep: Path) -> None:
    cells, frame = shown(kinds_sweep)
    (found,) = compare.find(cells, BACKEND)
    assert found.name == "TCP sockets"
    assert [rival.name for rival in found.rivals] == [
        *("PyTorch RPC", "PyTorch RPC through the orchestrator"),
    ]
    for rival, factor in zip(found.rivals, (1.1, 1.5), strict=True):
        differences = contrast.draw(found, frame, 0.02).of(rival, found.measures[0]).values()
        assert [d.ratio for d in differences] == pytest.approx([factor] * 3)
        assert {d.verdict for d in differences} == {"higher"}
    assert found.rivals[1].cell.splits[0].hops[0][0] == "pi1 → server → pi2"


def test_engines_are_compared_stage_by_stage_with_their_tolerances(kinds_sweep: Path) -> None:
    (text,) = said(kinds_sweep, ENGINE)
    for stage in ("stage 1 (pi1)", "stage 2 (pi2)"):
        assert f"ompute time of {stage} is 0.500 times that with PyTorch eager over 3" in text
    section = next(s for s in comparisons(Sheet.of(read(kinds_sweep))) if s["id"] == "engines")
    proofs = section["items"][0]["proofs"].replace("\xa0", " ")
    assert "ONNX Runtime 4.0 × 10⁻⁵ (allowed: 2.0 × 10⁻³)" in proofs
    assert re.search(r"PyTorch eager [\d.]+ × 10⁻⁷ \(allowed: 1\.0 × 10⁻⁵\)", proofs)
    # A looser engine's tolerance must not be stated for others.
    whole = proof(shown(kinds_sweep)[1]).replace("\xa0", " ")
    assert "with ONNX Runtime is 4.0 × 10⁻⁵ (allowed: 2.0 × 10⁻³)" in whole
    assert "(allowed: 1.0 × 10⁻⁵)" in whole


def test_allocators_are_compared_in_time_and_memory(kinds_sweep: Path) -> None:
    (text,) = said(kinds_sweep, ALLOCATOR)
    assert text.startswith("With default malloc, the compute time of stage 1 (pi1) is 1.25 times")
    assert "peak memory of stage 2 (pi2) is 0.833 times that with tuned malloc" in text


def test_memory_is_set_against_weights_and_the_empty_process(tmp_path: Path) -> None:
    synthetic.write_kinds(tmp_path, kinds=[("socket", "eager", TUNED)])
    cell = shown(tmp_path)[0][0]
    first, second = memory.worst(cell)  # peaks are equal everywhere: the last split tells
    assert (first.split.name, first.allocator, first.held.partition) == (
        *("P17", "tuned malloc"),
        17 * 2**20,
    )
    assert first.held.ratio == pytest.approx(360 / (17 + 240))
    assert (first.highest_at, first.highest) == ("P3", pytest.approx(360 / 243))
    assert second.stage == "stage 2, pi2"
    row = memory.table(cell).rows[0]
    texts = [entry.text for entry in row.entries]
    assert texts == ["3.00", "240", "360", "1.48", "18.0", "240", "360", "1.40"]


def test_old_records_are_read_and_shown_as_simply_as_before(page: str, sweep: Path) -> None:
    cells, frame = shown(sweep)
    assert {
        (cell.variant["engine"], cell.variant["allocators"], cell.unlocked) for cell in cells
    } == {("eager", (), False)}
    assert Naming.of(cells).over(cells[0]) == ""
    for heading in ("Backends compared", "Engines compared", "Allocators compared"):
        assert heading not in page
    assert 'id="memory"' not in page
    assert "authentication" not in page
    assert frame["allocators"].isna().all()


def test_records_without_an_allocator_are_not_mixed_with_those_that_have_one(
    tmp_path: Path,
) -> None:
    old = [*synthetic.cell(random.Random(1), splits=[[3]], repeats=2)]
    new = [*synthetic.cell(random.Random(2), splits=[[3]], repeats=2, allocators=TUNED)]
    for line in new[1:]:
        line["started_at"] = line["started_at"].replace("2000", "2001")
    synthetic.write_cell(tmp_path, [*old, *new])
    (cell,), frame = shown(tmp_path)
    assert (cell.variant["allocators"], cell.splits[0].runs) == (TUNED, 2)
    assert (
        list(frame["excluded"])[:2]
        == [
            "settings:allocators not recorded, newest tuned+tuned",
        ]
        * 2
    )
    told = notes(read(tmp_path), [cell], frame)
    assert "2 valid runs under other settings left out, never mixed in" in " ".join(told)


def test_another_image_size_under_the_same_name_is_left_out(tmp_path: Path) -> None:
    small = [*synthetic.cell(random.Random(1), splits=[[3], [9]], image_px=32)]
    large = [*synthetic.cell(random.Random(2), splits=[[3]])]
    for line in large[1:]:
        line["started_at"] = line["started_at"].replace("2000", "2001")
    synthetic.write_cell(tmp_path, [*small, *large])
    (cell,), frame = shown(tmp_path)
    assert cell.plan["image_px"] == cell.settings["image_px"] == 224
    assert [(split.name, split.runs) for split in cell.splits] == [("P3", 5), ("P9", 0)]
    assert (frame["excluded"] == "settings:image_px 32, newest 224").sum() == 10


def test_a_failed_try_at_other_settings_hides_nothing(tmp_path: Path) -> None:
    good = [*synthetic.cell(random.Random(1), splits=[[3]])]
    tried = [*synthetic.cell(random.Random(2), splits=[[3]], repeats=1, image_px=32)]
    tried[1] = synthetic.bare(tried[1], "failed:E_TIMEOUT", "late")
    tried[1]["started_at"] = "2001-01-01T00:00:00Z"
    synthetic.write_cell(tmp_path, [*good, *tried])
    (cell,), _ = shown(tmp_path)
    assert (cell.settings["image_px"], cell.plan["image_px"], cell.splits[0].runs) == (224, 224, 5)


def test_phases_that_a_slow_link_shortens_do_not_exclude_other_splits(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), scenario="wan", splits=[[1], [17]])]
    for line in lines[1:]:
        if line["factors"]["cuts"] == [1]:
            line["factors"] |= {"latency_batches": 2, "throughput_batches": 6}
    synthetic.write_cell(tmp_path, lines)
    assert shown(tmp_path)[1]["counted"].all()


def test_without_a_limited_rate_other_batch_counts_are_other_settings(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[1], [17]], repeats=1)]
    lines[1]["factors"]["throughput_batches"] = 6
    synthetic.write_cell(tmp_path, lines)
    assert list(shown(tmp_path)[1]["counted"]) == [False, True]


def test_what_ran_without_authentication_is_marked(tmp_path: Path) -> None:
    synthetic.write_kinds(tmp_path, splits=[[3]], kinds=list(synthetic.KINDS)[:2], repeats=2)
    page = pages(read(tmp_path))[MODEL]
    assert "Measured without authentication" in page
    for name in ("verdict", "fronts", "splits", "time"):
        section = re.search(rf'<section id="{name}">.*?</section>', page, re.DOTALL)
        assert section, name
        over = r'<span class="quiet">([^<]*)</span> <span class="open">'
        assert set(re.findall(over, section[0])) == {"over PyTorch RPC"}, name
    assert re.search(r"<span>PyTorch RPC <span class=\"open\">", page)  # where it is compared
    assert not re.search(r"<span>TCP sockets <span class=\"open\">", page)


def test_a_cell_is_not_marked_for_runs_that_do_not_count(tmp_path: Path) -> None:
    lines = plant(tmp_path, ("rpc", "eager", TUNED), {3: [(1.0, 8.0)] * 2})
    lines[1]["factors"]["window"] = 1
    lines[2]["security"] = "hmac"
    synthetic.write_cell(tmp_path, lines)
    (cell,), _ = shown(tmp_path)
    assert (cell.splits[0].runs, cell.unlocked) == (1, False)


def test_the_csv_has_the_new_columns(kinds_files: dict[str, str]) -> None:
    frame = pd.read_csv(io.StringIO(kinds_files["runs.csv"]))
    stages = ("load_s", "partition_bytes", "baseline_rss_bytes", "peak_rss_bytes", "allocator")
    for column in [f"stage{k}_{name}" for k in (1, 2) for name in stages]:
        assert frame[column].notna().all(), column
    kinds = frame.groupby("cell_id")[["backend", "engine", "allocators", "security"]].first()
    assert kinds.loc["mobilenetv2.rpc.pi_to_pi.baseline"].tolist() == [
        *("rpc", "eager", "tuned-tuned", "rpc-insecure"),
    ]
    assert kinds.loc["mobilenetv2.socket.pi_to_pi.baseline.default_malloc"].tolist() == [
        *("socket", "eager", "default-default", "hmac"),
    ]


def planted_transports(folder: Path) -> None:
    """Plant 1.3 times the latency with TLS, and a third less throughput."""
    runs = {k: [(k * one, 12 / k * one) for one in SPREAD] for k in (3, 9)}
    slower = {k: [(1.3 * a, b / 1.5) for a, b in values] for k, values in runs.items()}
    plant(folder, ("socket", "eager", TUNED), runs)
    plant(folder, ("socket", "eager", TUNED), slower, transport="tls")


def test_plain_and_tls_are_compared_and_never_pooled(tmp_path: Path) -> None:
    planted_transports(tmp_path)
    cells, frame = shown(tmp_path)
    assert [(cell.id, cell.variant["transport"]) for cell in cells] == [
        ("mobilenetv2.socket.pi_to_pi.baseline", "plain"),
        ("mobilenetv2.socket.pi_to_pi.baseline.tls", "tls"),
    ]
    assert {split.runs for cell in cells for split in cell.splits} == {5}
    assert len(Sheet.of(read(tmp_path)).groups) == 2  # a chart each
    assert said(tmp_path, TRANSPORT) == [
        "With TLS 1.3, the latency is 1.30 times that with plain TCP over 2 splits: higher at all "
        "of them. The throughput is 0.667 times that with plain TCP over 2 splits: lower at all of "
        "them."
    ]
    assert said(tmp_path, BACKEND) == said(tmp_path, ENGINE) == []
    page = pages(read(tmp_path))[MODEL]
    assert "Plain and encrypted compared" in page
    assert "TLS_CHACHA20_POLY1305_SHA256" in page
    assert frame.groupby("transport")["security"].unique().map(list).to_dict() == {
        "plain": ["hmac"],
        "tls": ["tls"],
    }
    assert set(frame["hop1_cipher"].dropna()) == {"TLS_CHACHA20_POLY1305_SHA256"}


def test_a_record_from_before_tls_is_plain_and_is_not_named_so(tmp_path: Path) -> None:
    plant(tmp_path, ("socket", "eager", TUNED), {3: [(1.0, 8.0)] * 2})
    (cell,), frame = shown(tmp_path)
    assert cell.variant["transport"] == "plain"
    assert set(frame["transport"]) == {"plain"}
    assert Naming.of([cell]).over(cell) == ""
    page = pages(read(tmp_path))[MODEL]
    assert "TLS" not in page.replace("HTML", "")


def test_rpc_is_not_said_to_lack_a_counterpart_with_tls(tmp_path: Path) -> None:
    planted_transports(tmp_path)
    plant(tmp_path, ("rpc", "eager", TUNED), {3: [(1.0, 8.0)] * 2})
    sections = {section["id"]: section for section in comparisons(Sheet.of(read(tmp_path)))}
    assert sections["transports"]["unmatched"] == []


def test_a_slower_network_is_no_counterpart_of_tls(tmp_path: Path) -> None:
    plant(tmp_path, ("socket", "eager", TUNED), {3: [(1.0, 8.0)] * 2}, batch_size=4)
    plant(tmp_path, ("socket", "eager", TUNED), {3: [(1.0, 8.0)] * 2}, transport="tls")
    cells, _ = shown(tmp_path)
    assert compare.find(cells, TRANSPORT) == []
    [told] = compare.unmatched(cells, TRANSPORT)
    assert "TLS 1.3 under baseline (Pi-to-Pi) is not compared with plain TCP" in told
    assert "batch size 8 against 4" in told
