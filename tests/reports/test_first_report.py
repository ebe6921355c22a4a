"""A report of an unfinished sweep says so, and how much there is."""

from __future__ import annotations

import random
from pathlib import Path

from reports.page.sections.verdict.notes import notes
from reports.page.sheet import Sheet
from tests.reports import known_cells as known
from tests.reports import synthetic_sweep as synthetic


def begun(folder: Path, scenario: str, until: int, *more: str) -> None:
    """Write a cell with rounds up to `until` of three, and `more` of some splits."""
    lines = synthetic.cell(random.Random(1), scenario=scenario, splits=[[3], [9]], repeats=3)
    kept = [
        line
        for line in lines
        if line["kind"] == "plan"
        or line["factors"]["repeat"] <= until
        or line["factors"]["split"] in more
    ]
    synthetic.write_cell(folder, kept)


def told(folder: Path) -> list[str]:
    sheet: Sheet = known.sheet(folder)
    return [
        line
        for line in notes(sheet.records, sheet.cells, sheet.frame)
        if "so far" in line or "valid runs" in line
    ]


def test_a_first_report_says_that_it_is_one(tmp_path: Path) -> None:
    for scenario in ("baseline", "wan"):
        begun(tmp_path, scenario, 1)
    assert told(tmp_path) == [
        "This sweep is not over: 1 of 3 runs of each split so far. The same command goes on, and "
        "writes this report again."
    ]


def test_cells_that_are_not_alike_are_told_apart(tmp_path: Path) -> None:
    begun(tmp_path, "baseline", 3)
    begun(tmp_path, "wan", 1)
    assert told(tmp_path) == ["Pi-to-Pi, wan: 1 of 3 runs of each split so far."]


def test_a_split_that_lacks_runs_is_named(tmp_path: Path) -> None:
    begun(tmp_path, "baseline", 2, "P3")
    assert told(tmp_path) == ["Pi-to-Pi, baseline: fewer than 3 valid runs for P9."]


def test_what_is_complete_lacks_nothing(tmp_path: Path) -> None:
    begun(tmp_path, "baseline", 3)
    assert told(tmp_path) == []
