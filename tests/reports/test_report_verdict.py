"""The sentences say what the numbers say."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from reports.data.cells import Cell, build
from reports.data.records import read
from reports.data.tidy import tidy
from reports.page.notes import notes
from reports.page.verdict import scenarios, sentences
from reports.words import number
from tests.reports import synthetic_sweep as synthetic


def cell_of(folder: Path, values: dict[int, tuple[float, float]], scenario: str) -> None:
    """Write a cell with known latency and throughput per split, the same in every run."""
    lines = [*synthetic.cell(random.Random(1), scenario=scenario, splits=[[k] for k in values])]
    for line in lines[1:]:
        latency, throughput = values[line["factors"]["cuts"][0]]
        line["latency"]["median_s"], line["throughput"]["img_s"] = latency, throughput
    synthetic.write_cell(folder, lines)


def cells_of(folder: Path) -> list[Cell]:
    records = read(folder)
    return build(records.plans, records.runs, tidy(records.runs))


def plain(texts: Sequence[object]) -> list[str]:
    return [text.striptags().replace("\xa0", " ") for text in texts]  # type: ignore[attr-defined]


def test_two_best_splits_and_the_price_of_each(tmp_path: Path) -> None:
    cell_of(tmp_path, {3: (2.0, 8.0), 9: (1.9, 6.0), 17: (1.6, 4.0)}, "baseline")
    assert plain(sentences(cells_of(tmp_path)[0])) == [
        "P17 has the lowest latency, 1.60 s [1.60, 1.60], and P3 the highest throughput, "
        "8.00 images/s [8.00, 8.00]; 5 runs each.",
        "Choosing P3 instead means 25 % more latency than P17; "
        "choosing P17 gives up 50 % of the throughput.",
    ]


def test_one_best_split_leaves_nothing_to_trade(tmp_path: Path) -> None:
    cell_of(tmp_path, {3: (1.0, 8.0), 17: (1.6, 4.0)}, "baseline")
    assert plain(sentences(cells_of(tmp_path)[0]))[1] == (
        "No other split is better in either: nothing to choose between."
    )


def test_splits_that_the_runs_do_not_tell_apart_are_named(tmp_path: Path) -> None:
    cell_of(tmp_path, {3: (1.6, 8.0), 17: (1.6, 4.0)}, "baseline")
    assert plain(sentences(cells_of(tmp_path)[0]))[-1] == (
        "In latency, the runs of P17 overlap with those of P3: not clearly apart."
    )


def test_what_the_network_changes(tmp_path: Path) -> None:
    cell_of(tmp_path, {3: (1.0, 8.0), 17: (2.0, 4.0)}, "baseline")
    cell_of(tmp_path, {3: (9.0, 1.0), 17: (2.5, 4.0)}, "wan")
    told = plain(scenarios(cells_of(tmp_path)))
    assert told[0].startswith("From baseline to wan, the lowest latency moves from P3 (1.00 s")
    assert told[2:] == [
        "Keeping baseline's P3 under wan means 3.6 times the latency of P17.",
        "Keeping baseline's P3 under wan means 75 % less throughput than P17.",
    ]


def test_a_cell_without_runs_says_so(tmp_path: Path) -> None:
    synthetic.write_cell(tmp_path, [next(synthetic.cell(random.Random(1)))])
    assert "no answer here" in sentences(cells_of(tmp_path)[0])[0]


def test_notes_name_a_demo_a_stand_in_and_what_is_not_there(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3]], image_px=32, batch_size=2)]
    for line in lines[1:]:
        line["hosts"]["pi1"] |= {"machine": "x86_64", "boot_id": "same"}
        line["hosts"]["pi2"] |= {"boot_id": "same"}
    synthetic.write_cell(tmp_path, lines)
    records = read(tmp_path)
    told = notes(records, cells_of(tmp_path), tidy(records.runs))
    assert "images of 32×32 instead of 224×224 and batches of 2 instead of 8" in told[0]
    assert "not comparable with the paper" in told[0]
    assert told[1].startswith("pi1 stand")
    assert told[2].startswith("pi1 and pi2 are one machine")
    assert "Pi-to-Pi under wan" in told[3]


def test_numbers_keep_three_digits() -> None:
    values = (0.0, 0.01824, 0.9996, 9.999, 43.12, 182.4, 1824.0)
    assert [number(value) for value in values] == [
        *("0", "0.0182", "1.00", "10.0", "43.1", "182", "1,820"),
    ]
