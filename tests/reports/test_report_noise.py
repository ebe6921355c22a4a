"""The report's first sentence: what differs by chance alone, from whichever source says more."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from reports.page.sheet import Sheet
from reports.statistics.noise import noise_of, sentence
from tests.made import known
from tests.made import sweep as synthetic


def told(folder: Path, scatter: object, shift: float | None = None) -> tuple[Sheet, str]:
    """Write a cell whose hosts scatter, and whose sentinels shift, by so much; say its noise."""
    sentinels = shift is not None
    lines = [*synthetic.cell(random.Random(1), splits=[[3], [9]], sentinels=sentinels)]
    for line in lines[1:]:
        last = line["factors"].get("sentinel") == "close"
        line["latency"]["median_s"] = 2.0 * (1 + (shift or 0) * last)
        line["throughput"]["sustained_img_s"] = 8.0
    if scatter is not None:
        figures = {"pi1": {"scatter": scatter}, "pi2": {"scatter": 0.001}}
        noise = {"kind": "noise", "cell_id": lines[0]["plan"]["cell_id"], "hosts": figures}
        lines.insert(1, {"schema_version": 1, **noise})
    synthetic.write_cell(folder, lines)
    sheet = known.sheet(folder)
    return sheet, sentence(sheet.cells, sheet.records.noises).replace("\xa0", " ")


@pytest.mark.parametrize("shift", [None, 0.02])
def test_the_worst_machine_rules(tmp_path: Path, shift: float | None) -> None:
    assert told(tmp_path, 0.1, shift)[1] == (
        "The same work timed again on pi1 differed by 10 %: with 5 runs of each split, differences "
        "below about 13 % mean nothing here."
    )


@pytest.mark.parametrize("scatter", [None, 0.1])
def test_the_same_split_timed_twice_rules(tmp_path: Path, scatter: float | None) -> None:
    assert told(tmp_path, scatter, 0.22)[1] == (
        "The same split measured twice differed by 22 %: with 5 runs of each split, differences "
        "below about 29 % mean nothing here."
    )


@pytest.mark.parametrize("scatter", [None, -0.1, "0.1", True, float("nan"), 1e9])
def test_records_from_before_or_beyond_belief_say_that_it_was_not_measured(
    tmp_path: Path, scatter: object
) -> None:
    sheet, said = told(tmp_path, scatter)
    assert noise_of(sheet.cells, sheet.records.noises) is None
    assert said == "How far the same work differs when it is timed again was not measured."
