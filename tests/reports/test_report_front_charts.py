"""A front's chart and table: every run, membership, and differences."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from paretopipe_runtime.contract.lines import Record
from reports.data.cells import Cell, Split
from reports.data.records import read
from reports.objectives import OBJECTIVES
from reports.page import tables
from reports.page.draw import bars, canvas, charts, labels
from reports.page.figures import point_id
from reports.page.sections import fronts, methods, splits, time
from reports.page.sheet import Sheet
from tests.made import known
from tests.made import sweep as synthetic

ROUND = {3: (2.0, 8.0), 9: (1.8, 7.0), 15: (2.5, 3.0), 17: (1.6, 4.0)}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Sheet:
    """Four splits, P15 dominated, one end point near and the other far."""
    folder = tmp_path_factory.mktemp("known")
    known.write(folder, ROUND, ends=((1.9, 6.0), (30.0, 0.1)), noise=0.001)
    return known.sheet(folder)


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory: pytest.TempPathFactory) -> Sheet:
    """Two splits too equal in latency for their noise."""
    folder = tmp_path_factory.mktemp("doubtful")
    known.write(folder, {3: (1.0, 8.0), 9: (0.97, 7.7), 17: (3.0, 2.0)}, noise=0.02)
    return known.sheet(folder)


def test_every_split_says_whether_it_is_on_the_front(plain: Sheet) -> None:
    [cell] = plain.cells
    svg = charts.pareto(cell, plain.judgements[cell.id], OBJECTIVES)
    titles = dict(re.findall(r'<a href="#([^"]+)"[^>]*><title>([^<]+)</title>', svg))
    words = {name: text for text in titles.values() for name in [text.split(",")[0]]}
    assert {name: text.split(",")[1].split(":")[0].strip() for name, text in words.items()} == {
        **{"P3": "on the front", "P9": "on the front", "P17": "on the front"},
        **{"P15": "off the front", "all on pi1": "not a split"},
    }
    assert re.search(r"\d\s% chance of being on the front; dominated by P\d+$", words["P15"])
    assert "5 of 5 runs count" in words["P3"]


def test_who_is_undecided_names_the_rival(doubtful: Sheet) -> None:
    [cell] = doubtful.cells
    judgement = doubtful.judgements[cell.id]
    assert "undecided" in judgement.verdict.values()
    svg = charts.pareto(cell, judgement, OBJECTIVES)
    assert re.search(
        r"P\d, undecided: latency [^<]+; \d+\s% chance of being on the front; rival P\d<", svg
    )


def test_every_run_is_a_dot(plain: Sheet) -> None:
    [cell] = plain.cells
    svg = charts.pareto(cell, plain.judgements[cell.id], OBJECTIVES)
    strokes = re.findall(r"<path [^>]*round[^>]*>", svg)
    runs = sum(stroke.count("M") for stroke in strokes if 'stroke-width="3.6"' in stroke)
    assert runs == 5 * len(ROUND) + 5  # those of the end point that is drawn


def test_an_end_point_far_away_is_named_and_not_drawn(plain: Sheet) -> None:
    [cell] = plain.cells
    assert [end.name for end in charts.near(cell)] == ["all on pi1"]
    [panel] = fronts.build(plain)[0]["groups"][0]["cells"]
    [(name, figures)] = panel["afar"]
    assert name.striptags() == "all on pi2"
    assert figures.startswith("30.0")


def test_the_panel_prints_what_the_runs_can_tell(plain: Sheet, doubtful: Sheet) -> None:
    [sharp] = fronts.build(plain)[0]["groups"][0]["cells"]
    [blunt] = fronts.build(doubtful)[0]["groups"][0]["cells"]
    pattern = (
        r"With 5 runs a split, .* from ([\d.]+)\s% in latency and [\d.]+\s% in throughput\. Hyp"
    )
    small, large = (
        float(found[1]) for text in (sharp, blunt) if (found := re.match(pattern, text["worth"]))
    )
    assert small < 0.5 < 2 < large
    assert [verdict for _, verdict, _ in sharp["members"]] == ["on"]
    assert "undecided" in [verdict for _, verdict, _ in blunt["members"]]


def test_one_run_of_each_decides_nothing_and_says_why(tmp_path: Path) -> None:
    known.write(tmp_path, ROUND, repeats=1)
    sheet = known.sheet(tmp_path)
    [panel] = fronts.build(sheet)[0]["groups"][0]["cells"]
    assert panel["worth"].startswith("Nothing can be decided: one run of each split")
    [cell] = sheet.cells
    table = tables.build(
        *(cell, sheet.judgements[cell.id], sheet.decisions[cell.id]),
        tables.Asked(sheet.contests[cell.id]),
    )
    assert {row.entries[3].text for row in table.rows} == {"▲ undecided"}


def test_front_line_is_the_strict_one(plain: Sheet) -> None:
    [cell] = plain.cells
    judgement = plain.judgements[cell.id]
    svg = charts.pareto(cell, judgement, OBJECTIVES)
    [line] = re.findall(r"<path [^>]*stroke-dasharray[^>]*>", svg)
    assert line.count("M") == 1
    assert len(re.findall(r"-?\d*\.?\d+", re.search(r' d="([^"]+)"', line)[1])) == 2 * len(  # type: ignore[index]
        judgement.front(cell)
    )


def test_rows_and_points_lead_to_each_other(plain: Sheet) -> None:
    [cell] = plain.cells
    svg = charts.pareto(cell, plain.judgements[cell.id], OBJECTIVES)
    [shown] = splits.build(plain)[0]["groups"][0]["cells"]
    for row in (*shown["table"].rows, *shown["ends"].rows):
        drawn = row.name != "all on pi2"
        assert (f'href="#{row.id}"' in svg) is drawn
        assert row.point == (point_id(row.id) if drawn else "")
        assert (f'id="{point_id(row.id)}"' in svg) is drawn


def test_the_table_sorts_by_how_sure_a_split_is_on_the_front(doubtful: Sheet) -> None:
    [cell] = doubtful.cells
    judgement = doubtful.judgements[cell.id]
    rows = tables.build(
        cell, judgement, doubtful.decisions[cell.id], tables.Asked(doubtful.contests[cell.id])
    ).rows
    ordered = sorted(rows, key=lambda row: float(row.entries[3].value))
    words = [row.entries[3].text.split(" ")[1] for row in ordered]
    assert words == sorted(words, key=["on", "undecided", "off"].index)
    assert words[-1] == "off"
    assert "dominated by" in ordered[-1].entries[3].text
    assert [row.on_front for row in ordered] == [word != "off" for word in words]


def test_the_table_begins_with_what_decides_best_first(doubtful: Sheet) -> None:
    [cell] = doubtful.cells
    answer = doubtful.decisions[cell.id]
    assert answer is not None
    asked = tables.Asked(doubtful.contests[cell.id])
    table = tables.build(cell, doubtful.judgements[cell.id], answer, asked)
    assert [column.label for column in table.columns if not column.hidden][:5] == [
        *("Split", "Latency", "Throughput", "Front", "Behind the best"),
    ]
    assert [column.high for column in table.columns][:3] == [False, False, True]
    losses = [float(row.entries[4].value) for row in table.rows]
    assert losses == sorted(losses)
    best = next(split for split in cell.splits if split.cuts == answer.both.pick)
    assert table.rows[0].name == best.name


def test_attempts_are_counted_and_an_unreliable_split_is_marked(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3], [9]])]
    for line in [line for line in lines[1:] if line["factors"]["cuts"] == [9]][:2]:
        line["status"] = "invalid:throttled"
    synthetic.write_cell(tmp_path, lines)
    sheet = known.sheet(tmp_path)
    [cell] = sheet.cells
    rows = tables.rest(cell, sheet.valid, sheet.judgements[cell.id].unreliable).rows
    assert [row.entries[-1].text for row in rows] == ["5 / 5 / 5", "3 / 3 / 5, unreliable"]


def test_a_block_measured_again_leaves_valid_runs_that_do_not_count(tmp_path: Path) -> None:
    cell_lines = synthetic.cell(
        random.Random(1), splits=[[3], [9]], end_points=True, sentinels=True, again=[2]
    )
    synthetic.write_cell(tmp_path, [*cell_lines])
    sheet = known.sheet(tmp_path)
    [cell] = sheet.cells
    judgement, asked = sheet.judgements[cell.id], tables.Asked(sheet.contests[cell.id])
    for table in (
        tables.rest(cell, sheet.valid),
        tables.end_points(cell, sheet.valid, asked),
    ):
        assert [row.entries[-1].text for row in table.rows] == ["5 / 6 / 6"] * 2
    assert judgement.unreliable == frozenset()


def test_end_points_have_a_table_of_their_own(plain: Sheet) -> None:
    [cell] = plain.cells
    table = tables.end_points(cell, plain.valid, tables.Asked(plain.contests[cell.id]))
    assert [row.name for row in table.rows] == ["all on pi1", "all on pi2"]
    assert len({len(row.entries) for row in table.rows} | {len(table.columns) - 1}) == 1


@pytest.mark.parametrize("model", ["mobilenetv2", "vgg16"])
def test_charts_are_small_and_well_formed(model: str, tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), model=model, end_points=True)]
    synthetic.write_cell(tmp_path, lines)
    sheet = known.sheet(tmp_path)
    [cell] = sheet.cells
    judgement = sheet.judgements[cell.id]
    front, parts = charts.pareto(cell, judgement, OBJECTIVES), bars.phases(cell, judgement)
    for svg in (front, parts):
        ElementTree.fromstring(svg)
    # Per split a mark with its text, its runs and whiskers: four cells must fit a page.
    assert len(front) < 3000 + 600 * len(cell.measured)
    assert len(parts) < 3000 + 200 * len(cell.measured)


def lengths(cell: Cell) -> tuple[list[list[float]], list[str | None]]:
    """Return the segments of each bar, and their hatches."""
    pieces = bars.segments([(split, cell) for split in cell.measured])
    bar = zip(*(values for values, _, _ in pieces), strict=True)
    return [[*values] for values in bar], [hatch for _, _, hatch in pieces]


def whole(split: Split) -> float:
    parts = [*(stage["compute_s"] for stage in split.stages), split["network_s"]]
    return sum(part.median for part in parts if part)


def test_bars_add_up_to_what_was_measured(plain: Sheet) -> None:
    [cell] = plain.cells
    found, hatches = lengths(cell)
    assert [sum(bar) for bar in found] == pytest.approx([*map(whole, cell.measured)])
    assert hatches == [None, "////", None]


SLOW = {"netem": {"delay": "20ms"}, "measured": {"rtt_ms": 20.4, "rate_mbit": 50}}
FAST = {"netem": None, "measured": {"rtt_ms": 0.3, "rate_mbit": 900}}


@pytest.mark.parametrize("later", [[SLOW], [FAST, SLOW]])
def test_a_chain_has_a_segment_a_hop(tmp_path: Path, later: list[Record]) -> None:
    hosts = ["pi1", "pi2", "server", "other"][: len(later) + 2]
    synthetic.write_chain(tmp_path, hosts, later)
    sheet = known.sheet(tmp_path)
    cell = next(cell for cell in sheet.cells if cell.asked)
    (bar,), hatches = lengths(cell)
    assert sum(bar) == pytest.approx(whole(cell.measured[0]))
    assert hatches[1::2] == [*bars.HATCHES[: len(later) + 1], None]
    arrived = [seen.median for seen in cell.measured[0].arrivals if seen]
    delays_s = [0.0002, *(hop["measured"]["rtt_ms"] / 1e3 for hop in later)]
    assert bar[1:-1:2] == pytest.approx(list(map(sum, zip(arrived, delays_s, strict=True))))
    (section,) = time.build(sheet)
    assert section["hops"] == [*map(" → ".join, pairwise(hosts))]
    assert f"hop{len(hosts) - 1}_receive_s" in sheet.frame


def test_of_two_hosts_nothing_is_new(plain: Sheet) -> None:
    assert not [column for column in plain.frame if column.endswith("receive_s")]
    (section,) = time.build(plain)
    assert (section["hops"], section["chained"]) == (["network"], False)


def test_hops_that_nobody_timed_are_not_told_apart(tmp_path: Path) -> None:
    synthetic.write_chain(tmp_path, ["pi1", "pi2", "server"], [SLOW], backend="rpc")
    cell = next(cell for cell in known.sheet(tmp_path).cells if cell.asked)
    (bar,), _ = lengths(cell)
    network = cell.measured[0]["network_s"]
    assert network is not None
    assert bar[1::2] == [0.0, 0.0, network.median]


def test_needed_names_are_never_lost_others_only_where_there_is_room() -> None:
    _, axes = canvas.empty(3, 2)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    crowd = [labels.Label(0.5 + k / 1000, 0.5, f"P{k}", needed=k < 12) for k in range(40)]
    labels.place(axes, crowd)
    written = {text.get_text() for text in axes.texts}
    assert {f"P{k}" for k in range(12)} <= written
    assert len(written) < 40


def test_names_keep_off_each_other_where_there_is_room() -> None:
    figure, axes = canvas.empty(6, 4)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    labels.place(axes, [labels.Label(k / 8, k / 8, f"P{k}") for k in range(1, 8)])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 7
    assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[k + 1 :])


def test_methods_state_this_sweep_s_own_figures(tmp_path: Path) -> None:
    lines = synthetic.cell(
        random.Random(1), splits=[[3], [9], [17]], repeats=4, sentinels=True, again=[2]
    )
    synthetic.write_cell(tmp_path, [*lines])
    [section] = methods.build(known.sheet(tmp_path, delta=0.03))
    assert section["delta"].replace("\xa0", " ") == "3 %"
    assert section["repeats"] == "4 (87.5 %)"
    drifts = section["sentinel"].replace("\xa0", " ")
    assert drifts.startswith("Over 5 pairs of sentinels it moved by ")
    assert drifts.endswith("the limit is 5 %: 1 beyond it, 1 round measured once more.")


def told(folder: Path, *lines: dict[str, Any]) -> str:
    """Return the methods' text on sentinels for a cell with these lines."""
    synthetic.write_cell(folder, [*lines])
    [section] = methods.build(known.sheet(folder, delta=0.03))
    return str(section["sentinel"]).replace("\xa0", " ")


def test_methods_state_the_limit_that_the_orchestrator_judged_by(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3], [9]], repeats=3, sentinels=True)]
    cell = {"kind": "drift", "schema_version": 1, "cell_id": lines[0]["plan"]["cell_id"]}
    early = {**cell, "limit": {"latency": 0.05, "throughput": 0.05}, "beyond": [1, 2]}
    late = {**cell, "limit": {"latency": [0.05, 0.2714], "throughput": [0.05] * 2}, "beyond": [3]}
    words = told(tmp_path, *lines, early, late)
    assert "the limit is 5 % to 27.1 %: 1 beyond it, 0 rounds measured once more; it is" in words


def test_methods_do_not_judge_blocks_that_nobody_has_judged_yet(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3], [9]], repeats=2, sentinels=True)]
    lines[-1]["latency"]["median_s"] *= 1.2
    words = told(tmp_path, *lines)
    assert ": 0 beyond it, 0 rounds measured once more; 1 cell not judged before all" in words


@pytest.mark.parametrize(
    "verdict",
    [
        {},
        {"limit": 0.05, "beyond": []},
        {"limit": {"latency": 0.05}, "beyond": []},
        {"limit": {"latency": 0.05, "throughput": "much"}, "beyond": []},
        {"limit": {"latency": 0.05, "throughput": [0.05, "much"]}, "beyond": []},
        {"limit": {"latency": 0.05, "throughput": 0.05}, "beyond": 3},
        {"limit": {"latency": 0.05, "throughput": 0.05}, "beyond": [[3]]},
    ],
)
def test_a_verdict_on_drift_that_is_none_is_damaged(tmp_path: Path, verdict: Any) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3], [9]], repeats=2, sentinels=True)]
    cell = {"kind": "drift", "schema_version": 1, "cell_id": lines[0]["plan"]["cell_id"]}
    synthetic.write_cell(tmp_path, [*lines, {**cell, **verdict}])
    found = read(tmp_path)
    assert (found.drifts, found.files[0].damaged) == ((), (len(lines) + 1,))


def test_methods_of_a_sweep_without_sentinels_say_what_that_hides(plain: Sheet) -> None:
    [section] = methods.build(plain)
    assert section["sentinel"].startswith("These sweeps had none")
