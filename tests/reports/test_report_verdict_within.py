"""Comparisons of two splits of a cell: right for known truth, silent without evidence."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from reports.data.cells import Cell, Split
from reports.data.records import read
from reports.objectives import LATENCY, OBJECTIVES, Objective
from reports.page.sheet import Sheet
from reports.statistics.difference import Contest
from tests.made import known
from tests.made import sweep as synthetic


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    folder = tmp_path_factory.mktemp("blank")
    known.write(folder, {cut: (1.0, 8.0) for cut in range(1, 11)})
    [cell] = known.sheet(folder).cells
    return cell


def drawn(cell: Cell, seed: int, slower: dict[int, float], cv: float) -> Cell:
    """Return the cell with random runs in five drifting rounds; ``slower`` is the truth."""
    source = random.Random(seed)
    drift = {round: source.lognormvariate(0, 0.05) for round in range(1, 6)}

    def runs(split: Split) -> dict[str, tuple[float, ...]]:
        truth = slower.get(split.cuts[0], 1.0)
        rows = [
            (
                *(round, truth * drift[round] * source.lognormvariate(0, cv)),
                8 / truth / drift[round] * source.lognormvariate(0, cv),
            )
            for round in drift
        ]
        names = ("repeat", "latency_s", "throughput_img_s")
        return dict(zip(names, zip(*rows, strict=True), strict=True))

    return replace(cell, splits=tuple(replace(s, values=runs(s)) for s in cell.splits))


def test_the_same_under_two_names_is_hardly_ever_called_better(blank: Cell) -> None:
    found = Counter(
        Contest.of(drawn(blank, seed, {}, cv=0.01), 0.02).outcome((1,), (2,), objective)
        for seed in range(60)
        for objective in OBJECTIVES
    )
    assert found["better"] + found["worse"] <= 1
    assert found["equal"] > 60  # at CV 1 % five rounds are enough to say so


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda one: one.name)
def test_a_clear_difference_is_seen_through_the_drift_of_blocks(
    blank: Cell, objective: Objective
) -> None:
    contests = [Contest.of(drawn(blank, seed, {2: 1.08}, 0.01), 0.02) for seed in range(20)]
    assert {contest.outcome((1,), (2,), objective) for contest in contests} == {"better"}
    assert {contest.outcome((2,), (1,), objective) for contest in contests} == {"worse"}


def test_a_difference_of_delta_is_neither_equal_nor_certain(blank: Cell) -> None:
    found = Counter(
        Contest.of(drawn(blank, seed, {2: 1.02}, 0.01), 0.02).outcome((1,), (2,), LATENCY)
        for seed in range(60)
    )
    assert found["undecided"] >= 50


def test_each_model_gets_a_sheet_of_its_own_records(tmp_path: Path) -> None:
    synthetic.write(
        tmp_path,
        repeats=1,
        models=["mobilenetv2", "alexnet"],
        flaws=False,
        profiles=True,
        links=True,
    )
    records = read(tmp_path)
    sheets = Sheet.each(records)
    assert sorted(sheet.model for sheet in sheets) == ["alexnet", "mobilenetv2"]
    assert sum(len(sheet.frame) for sheet in sheets) == len(records.runs)
    for sheet in sheets:
        assert {run["factors"]["model"] for run in sheet.records.runs} == {sheet.model}
        assert {profile.model for profile in sheet.profiles} == {sheet.model}
        assert len(sheet.used) == int(sheet.frame["counted"].sum()) > 0
        ids = [cell.id for cell in sheet.cells]
        assert [*sheet.judgements] == [*sheet.contests] == [*sheet.decisions] == ids
        assert {file.name.split(".")[0] for file in sheet.records.files} == {"link", sheet.model}


def test_a_sheet_is_about_one_model(tmp_path: Path) -> None:
    synthetic.write(tmp_path, repeats=1, models=["mobilenetv2", "alexnet"], flaws=False)
    with pytest.raises(ValueError, match="too many values"):
        known.sheet(tmp_path)
