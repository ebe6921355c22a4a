"""A cell that measured only what is in doubt: what is believed of it, and what it is called."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from reports.data import shape
from reports.data.cells import Cell, Split
from reports.data.records import read
from reports.objectives import LATENCY, THROUGHPUT
from reports.page import tables
from reports.page.draw import charts
from reports.page.render import pages
from reports.page.sections import methods
from reports.page.sections.verdict import decision, notes
from reports.page.sheet import Sheet
from reports.prediction.errors import errors
from reports.statistics.doubt import Believed
from reports.statistics.noise import sentence
from tests.made import doubtful, known, sweep
from tests.made.figures import predictor
from tests.reports.conftest import MODEL


def sheet_of(folder: Path, **how: Any) -> Sheet:
    sweep.write_cell(folder, doubtful.cell(**how))
    return known.sheet(folder)


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Sheet:
    """Seven of twenty splits run: 1 to 5, 10, and 17, the audit's."""
    return sheet_of(tmp_path_factory.mktemp("doubtful"))


@pytest.fixture(scope="module")
def cell(sheet: Sheet) -> Cell:
    [found] = sheet.cells
    return found


def by_name(cell: Cell, name: str) -> Split:
    return next(split for split in cell.splits if split.name == name)


def test_values_are_what_is_believed_and_runs_keep_their_own(cell: Cell) -> None:
    once = by_name(cell, "P5")
    [run] = once.values["latency_s"]
    assert cell.standing is not None
    predicted = doubtful.predicted(cell.plan)[once.cuts].latency_s
    assert once.own.median(LATENCY) == run
    assert min(run, predicted) < once.median(LATENCY) < max(run, predicted)
    never, own = by_name(cell, "P7"), by_name(cell, "P7").own
    assert (never.runs, own.of(LATENCY)) == (0, None)
    spread = never.of(LATENCY)
    assert spread is not None
    assert spread.low < spread.median < spread.high
    assert never.figures["network_s"] is None
    known_by, often = (by_name(cell, name).of(THROUGHPUT) for name in ("P7", "P3"))
    assert known_by is not None
    assert often is not None
    assert often.high / often.low < known_by.high / known_by.low, "three runs tell more than none"


def test_codecs_are_counted_and_believed_as_any_split(tmp_path: Path) -> None:
    sheet = sheet_of(tmp_path, codecs=["none", "int8"])
    [cell] = sheet.cells
    said = known.plain(decision.sentences(cell, sheet))
    assert said["Runs"] == "27 instead of 225 (12 %); 26 of 40 splits never run."
    assert re.match(r"P\d+ int8 \d\.\d\d s, ", said["Sent as int8"])
    assert "P1 int8, off the front" in pages(read(tmp_path))[MODEL]


def test_what_was_never_run_has_a_word_and_a_mark_of_its_own(sheet: Sheet, cell: Cell) -> None:
    judgement, asked = sheet.judgements[cell.id], tables.Asked(sheet.contests[cell.id])
    table = tables.build(cell, judgement, sheet.decisions[cell.id], asked)
    labels = [column.label for column in table.columns]
    front, runs, latency = (labels.index(s) - 1 for s in ("Front", "Runs", "Predicted latency"))
    rows = {row.name: row.entries for row in table.rows}
    assert rows["P3"][front].text == "◆ on 1.00"
    assert rows["P2"][front].text.startswith("● off 0.")
    assert re.match(r"○ off \(predicted\) 0\.\d\d, dominated by P\d", rows["P8"][front].text)
    assert rows["P11"][front].text.startswith("△ undecided 0.")
    assert [rows[name][runs].text for name in ("P3", "P5", "P8")] == ["3", "1", "0"]
    assert float(rows["P8"][latency].text) == pytest.approx(
        doubtful.predicted(cell.plan)[8,].latency_s, rel=0.01
    )
    assert table.columns[table.sorted_by].label == "Behind the best"
    drawn = charts.pareto(cell, judgement, (LATENCY, THROUGHPUT))
    assert re.search(r"<title>P8, off the front \(predicted\): latency .*; never run; 0", drawn)
    assert re.search(r"<title>P11, undecided: latency .*; never run; ", drawn)
    assert re.search(r"<title>P2, off the front: latency .*; 2 of 2 runs count; ", drawn)


def test_what_is_never_run_is_drawn_hollow(cell: Cell, sheet: Sheet) -> None:
    drawn = charts.pareto(cell, sheet.judgements[cell.id], (LATENCY, THROUGHPUT))
    hollow = re.findall(r'<g fill="none" stroke="var\(--c\d\)"[^>]*>(.*?)</g>', drawn)
    rows = set(re.findall(r"-(P\d+)\"", " ".join(hollow)))
    assert rows == {split.name for split in cell.splits if not split.runs}


def test_the_report_says_what_was_saved_and_what_it_rests_on(sheet: Sheet, cell: Cell) -> None:
    said = known.plain(decision.sentences(cell, sheet))
    assert said["Runs"] == "14 instead of 120 (12 %); 13 of 20 splits never run."
    assert re.fullmatch(
        r"predictions from block profiles, off by \d\.\d % in the median of 7 splits run\. The "
        r"audit, 1 run of random splits off by prediction, found nothing\.",
        said["Rests on"],
    )
    assert said["Undecided"] == "more runs would tell: -e budget=0.4."
    assert "after features.2: expected" in said[""]
    assert not [line for line in notes.notes(sheet.records, [cell], sheet.frame) if "P7" in line]


def test_what_hosts_scatter_by_widens_what_is_believed(tmp_path: Path, cell: Cell) -> None:
    lines = doubtful.cell()
    hosts = {"pi1": {"scatter": 0.1}, "pi2": {"scatter": 0.001}}
    noise = {"kind": "noise", "cell_id": lines[0]["plan"]["cell_id"], "hosts": hosts}
    lines.insert(1, {"schema_version": 1, **noise})
    sweep.write_cell(tmp_path, lines)
    sheet = known.sheet(tmp_path)
    wide, usual = (by_name(one, "P3").of(LATENCY) for one in (sheet.cells[0], cell))
    assert wide is not None
    assert usual is not None
    assert wide.high / wide.low > usual.high / usual.low
    said = sentence(sheet.cells, sheet.records.noises).replace("\xa0", " ")
    assert said == "The same work timed again on pi1 differed by 10 %.", "no split has as many runs"


def test_the_method_is_that_of_what_is_in_doubt(sheet: Sheet) -> None:
    [method] = methods.build(sheet)
    assert (method["believed"], method["exhaustive"], method["repeats"]) == (True, False, "")


def test_a_contradicted_prediction_is_named(tmp_path: Path) -> None:
    sheet = sheet_of(tmp_path, far={17: 1.4})
    said = known.plain(decision.sentences(sheet.cells[0], sheet))
    assert said["Rests on"].endswith("P17 contradicted theirs, so that more was run.")


def test_splits_and_end_points_compare_by_what_is_believed(sheet: Sheet, cell: Cell) -> None:
    contest, (first, _) = sheet.contests[cell.id], cell.end_points
    assert isinstance(contest, Believed)
    assert contest.outcome((3,), first.cuts, THROUGHPUT) == "better"
    assert contest.outcome((8,), (3,), THROUGHPUT) == "worse", "never run"
    assert contest.outcome((3,), (99,), LATENCY) == "undecided"
    low, high = contest.interval(first.cuts, LATENCY) or (0, 0)
    assert low < first.median(LATENCY) < high


def test_errors_of_predictions_are_those_of_what_was_run(cell: Cell) -> None:
    found = errors(cell, predictor())
    run = {split.cuts: split for split in (*cell.measured, *cell.end_points)}
    assert [error.cuts for error in found.splits] == [(1,), (2,), (), (0,)], "of three blocks"
    for error in found.splits:
        split = run[error.cuts]
        own = median(split.values["latency_s"])
        assert error.latency == pytest.approx(error.predicted.latency_s / own - 1)


@pytest.mark.parametrize("lacking", ["runs", "candidates"])
def test_a_sweep_that_has_only_begun_has_no_answer_and_misses_nothing(
    tmp_path: Path, lacking: str
) -> None:
    lines = doubtful.cell(rounds={} if lacking == "runs" else doubtful.ROUNDS)
    if lacking == "candidates":
        del lines[0]["plan"]["candidates"]
    sweep.write_cell(tmp_path, lines)
    sheet = known.sheet(tmp_path)
    [cell] = sheet.cells
    assert (cell.standing, cell.missing) == (None, ())
    assert ("no answer" in known.plain(decision.sentences(cell, sheet))[""]) == (lacking == "runs")


@pytest.mark.parametrize(
    "wrong",
    [
        {"candidates": []},
        {"candidates": [{"cuts": [1]}]},
        {"candidates": "P1"},
        {"doubtful": {"budget": "much"}},
        {"doubtful": [0.2]},
        {"more": 3},
        {"more": [{"why": 3}]},
    ],
)
def test_plans_that_no_one_writes_are_refused(wrong: dict[str, Any]) -> None:
    plan = doubtful.cell()[0]["plan"]
    assert shape.plan(plan)
    assert not shape.plan({**plan, **wrong})


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | bytes]:
    """A doubtful cell beside another network's, and beside an exhaustive one of another backend."""
    new, old = (tmp_path_factory.mktemp(name) for name in ("new", "old"))
    for more in ({}, {"scenario": "wan"}):
        sweep.write_cell(new, doubtful.cell(**more))
    rpc = sweep.cell(sweep.random.Random(3), backend="rpc", splits=[[3], [8]])
    sweep.write_cell(new, [*rpc])
    sweep.write_cell(old, [*sweep.cell(sweep.random.Random(4))])
    return pages(read(new), goal="latency<9s", other=read(old), for_paper=True)


def test_whole_pages_stay_whole_beside_other_sweeps(files: dict[str, str | bytes]) -> None:
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", str(files[MODEL])))
    assert "hollow: never run, off (predicted) or undecided" in page
    assert "-e strategy=exhaustive" in page
    assert "the posterior's 90\xa0% where only splits in doubt were run" in page.replace(
        "&nbsp;", "\xa0"
    )
    assert "no valid run for" not in page
    assert not re.search(r"\bnan\b|None", page)
    for part in ("Backends compared", "Changes against old", "Sentinel."):
        assert part in page
    assert "never" in str(files["paper/paper.tex"])
    assert "14 instead of 120 (12 %)" in str(files["verdict.txt"])
