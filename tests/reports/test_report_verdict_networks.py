"""Effects of the network: measured moves, predicted ones, and the safest split."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.page.sections.verdict import changes
from reports.page.sheet import Sheet
from tests.made import known
from tests.made import sweep as synthetic


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Write another best split under each network."""
    known.write(tmp_path, {3: (1.0, 8.0), 9: (1.1, 7.0), 17: (2.0, 4.0)}, "baseline")
    known.write(tmp_path, {3: (9.0, 1.0), 9: (3.0, 2.5), 17: (2.5, 4.0)}, "wan")
    return tmp_path


def moves(sheet: Sheet) -> dict[str, str]:
    return known.plain(changes.between(sheet, sheet.cells))


def test_a_move_is_told_with_the_price_of_staying(two: Path) -> None:
    told = moves(known.sheet(two))
    assert told == {
        "Lowest latency, baseline to wan": "Moves from P3, 1.00 s [1.00, 1.00], to P17, "
        "2.50 s [2.50, 2.50]. Keeping P3 means 3.6 times the latency of P17.",
        "Highest throughput, baseline to wan": "Moves from P3, 8.00 images/s [8.00, 8.00], to "
        "P17, 4.00 images/s [4.00, 4.00]. Keeping P3 means 75 % less throughput than P17.",
    }


def test_what_stays_the_best_stays(tmp_path: Path) -> None:
    for scenario in ("baseline", "wan"):
        known.write(tmp_path, {3: (1.0, 8.0), 9: (1.1, 7.0)}, scenario)
    told = moves(known.sheet(tmp_path))
    assert told["Lowest latency, baseline to wan"].startswith("P3 stays the best: 1.00 s")


@pytest.mark.parametrize(
    ("wan", "noise", "said"),
    [
        (2.01, 0.0, "P3 stays as good as the best: 2.01 s [2.01, 2.01], beside P9, 2.00 s"),
        (2.06, 0.05, "; the runs do not tell it apart from P9, "),
    ],
)
def test_a_move_that_the_runs_do_not_show_is_none(
    tmp_path: Path, wan: float, noise: float, said: str
) -> None:
    known.write(tmp_path, {3: (1.0, 8.0), 9: (1.5, 7.0)}, "baseline")
    known.write(tmp_path, {3: (wan, 4.0), 9: (2.0, 3.0)}, "wan", noise=noise)
    assert said in moves(known.sheet(tmp_path))["Lowest latency, baseline to wan"]


def test_the_safest_split_loses_least_at_worst(two: Path) -> None:
    sheet = known.sheet(two)
    assert known.plain(changes.one_for_all(sheet, sheet.cells)) == {
        "Network unknown": "P9 for latency, at most 20 % more than the fastest split (90 %); P9 "
        "for throughput, at most 38 % less than the busiest split (90 %)."
    }


def test_one_network_alone_needs_no_bet(tmp_path: Path) -> None:
    known.write(tmp_path, {3: (1.0, 8.0), 9: (1.1, 7.0)})
    sheet = known.sheet(tmp_path)
    assert changes.one_for_all(sheet, sheet.cells) == []
    assert moves(sheet) == {}


def test_no_common_split_is_no_bet(tmp_path: Path) -> None:
    known.write(tmp_path, {3: (1.0, 8.0)}, "baseline")
    known.write(tmp_path, {9: (1.0, 8.0)}, "wan")
    sheet = known.sheet(tmp_path)
    found = known.plain(changes.one_for_all(sheet, sheet.cells))
    assert found == {"Network unknown": "no split is known well enough under each."}


def test_predictions_are_called_predicted_and_name_measured_splits(tmp_path: Path) -> None:
    synthetic.write(tmp_path, repeats=2, flaws=False, profiles=True, links=True)
    sheet = known.sheet(tmp_path)
    rows = {split.row_id for cell in sheet.cells for split in cell.splits}
    for group in sheet.groups:
        found = changes.predicted(sheet, group)
        assert [sentence.label for sentence in found] == [
            "Predicted, at 930 Mbit/s",
            "Predicted, at 4.80 Mbit/s",
        ]
        for sentence in found:
            assert sentence.text.count("typical error ") == 2
            assert any(f'"#{row}"' in sentence.text for row in rows)


def test_without_profiles_nothing_is_predicted(two: Path) -> None:
    sheet = known.sheet(two)
    assert changes.predicted(sheet, sheet.cells) == []
