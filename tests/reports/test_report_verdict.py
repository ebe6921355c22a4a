"""Sentences agree with the numbers."""

from __future__ import annotations

import random
from pathlib import Path

from reports.page.sections.verdict.answer import sentences
from reports.page.sections.verdict.notes import notes
from reports.words import number
from tests.made import known
from tests.made import sweep as synthetic


def told(folder: Path, delta: float = 0.02) -> dict[str, str]:
    sheet = known.sheet(folder, delta)
    [cell] = sheet.cells
    return known.plain(sentences(cell, sheet.judgements[cell.id], sheet.contests[cell.id]))


def test_two_best_splits_and_the_price_of_a_balance(tmp_path: Path) -> None:
    known.write(tmp_path, {3: (2.0, 8.0), 9: (1.76, 7.2), 17: (1.6, 4.0)})
    found = told(tmp_path)
    assert found["Lowest latency"] == "P17, 1.60 s [1.60, 1.60] in 5 runs."
    assert found["Highest throughput"] == "P3, 8.00 images/s [8.00, 8.00] in 5 runs."
    assert found["Balanced"] == (
        "P9 has 10 % more latency than P17 and 10 % less throughput than P3."
    )


def test_from_twice_as_much_on_a_loss_is_a_factor(tmp_path: Path) -> None:
    known.write(tmp_path, {3: (3.2, 8.0), 17: (1.6, 2.0)})
    assert told(tmp_path)["Balanced"] == "P3 has 2.0 times the latency of P17."


def test_one_best_split_leaves_nothing_to_trade(tmp_path: Path) -> None:
    known.write(tmp_path, {3: (1.0, 8.0), 17: (1.6, 4.0)})
    assert told(tmp_path)["Balanced"] == "P3 is best in both: nothing to trade."


def test_splits_within_delta_are_as_good(tmp_path: Path) -> None:
    known.write(tmp_path, {3: (1.6, 8.0), 9: (1.61, 5.0), 17: (1.8, 4.0)})
    assert told(tmp_path)["Lowest latency"].endswith("As good, within 2 %: P9.")
    assert told(tmp_path, delta=0.001)["Lowest latency"].endswith("in 5 runs.")


def test_a_margin_that_covers_all_says_so_of_all(tmp_path: Path) -> None:
    known.write(tmp_path, {3: (1.60, 8.0), 9: (1.61, 5.0), 17: (1.62, 4.0)})
    assert told(tmp_path)["Lowest latency"].endswith("Every other split is within 2 % of it.")


def test_noisy_splits_are_not_told_apart(tmp_path: Path) -> None:
    known.write(tmp_path, {3: (1.6, 8.0), 9: (1.65, 5.0), 17: (9.0, 4.0)}, noise=0.04)
    assert "Not told apart from it at δ = 2 %: P" in told(tmp_path)["Lowest latency"]
    assert "P17" not in told(tmp_path)["Lowest latency"]


def test_one_run_of_each_tells_nothing_apart(tmp_path: Path) -> None:
    known.write(tmp_path, {3: (1.0, 8.0), 17: (2.0, 4.0)}, repeats=1)
    found = told(tmp_path)["Lowest latency"]
    assert found == "P3, 1.00 s [1.00, 1.00] in 1 run. Not told apart from it at δ = 2 %: P17."


def test_names_lead_to_their_rows(tmp_path: Path) -> None:
    known.write(tmp_path, {3: (2.0, 8.0), 17: (1.6, 4.0)})
    sheet = known.sheet(tmp_path)
    [cell] = sheet.cells
    first = sentences(cell, sheet.judgements[cell.id], sheet.contests[cell.id])[0].text
    row = next(split.row_id for split in cell.splits if split.name == "P17")
    assert first.startswith(f'<a href="#{row}">P17</a>')


def test_a_cell_without_runs_says_so(tmp_path: Path) -> None:
    synthetic.write_cell(tmp_path, [next(synthetic.cell(random.Random(1)))])
    assert "no answer here" in told(tmp_path)[""]


def test_doubts_are_sentences_too(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3], [9], [17]])]
    lines = [line for line in lines if line.get("factors", {}).get("cuts") != [17]]
    spoilt = [line for line in lines[1:] if line["factors"]["cuts"] == [9]][:2]
    for line in spoilt:
        line["status"] = "invalid:throttled"
    synthetic.write_cell(tmp_path, lines)
    found = told(tmp_path)
    assert found["Incomplete"] == "2 of 3 planned splits measured; without a valid run: P17."
    assert found["Unreliable"] == "More than 20 % of the attempts were invalid: P9."


def test_notes_name_a_demo_a_stand_in_and_what_is_not_there(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3]], image_px=32, batch_size=2)]
    for line in lines[1:]:
        line["hosts"]["pi1"] |= {"machine": "x86_64", "boot_id": "same"}
        line["hosts"]["pi2"] |= {"boot_id": "same"}
    synthetic.write_cell(tmp_path, lines)
    sheet = known.sheet(tmp_path)
    found = notes(sheet.records, sheet.cells, sheet.frame)
    assert "images of 32×32 instead of 224×224 and batches of 2 instead of 8" in found[0]
    assert "not comparable with the paper" in found[0]
    assert found[1].startswith("pi1 stand")
    assert found[2].startswith("pi1 and pi2 are one machine")
    assert "Pi-to-Pi under wan" in found[3]


def test_a_restart_between_runs_is_named(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), splits=[[3], [9]])]
    for line in lines[1:]:
        line["hosts"]["pi1"]["boot_id"] = "first"
        line["hosts"]["pi2"]["boot_id"] = "second"
    lines[-1]["hosts"]["pi2"]["boot_id"] = "third"

    def told() -> list[str]:
        synthetic.write_cell(tmp_path, lines)
        sheet = known.sheet(tmp_path)
        return [
            line for line in notes(sheet.records, sheet.cells, sheet.frame) if "restart" in line
        ]

    [sentence] = told()
    assert sentence.startswith("Pi-to-Pi, baseline: ")
    assert ": pi2 was restarted between these runs:" in sentence
    lines[-1]["status"] = "failed:E_KILLED"
    assert not told(), "no number of that boot is shown"


def test_numbers_keep_three_digits() -> None:
    values = (0.0, 0.01824, 0.9996, 9.999, 43.12, 182.4, 1824.0)
    assert [number(value) for value in values] == [
        *("0", "0.0182", "1.00", "10.0", "43.1", "182", "1,820"),
    ]
