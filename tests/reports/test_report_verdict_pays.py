"""Whether splitting pays: every outcome against known end points."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.page.sections.verdict import splitting as pays
from tests.made import known

SPLITS = {3: (1.0, 16.0), 9: (1.2, 20.0)}


def said(folder: Path) -> tuple[str, str]:
    sheet = known.sheet(folder)
    [cell] = sheet.cells
    contest = sheet.contests[cell.id]
    text = pays.sentence(cell, contest).striptags().replace("\xa0", " ")
    return text, pays.short(cell, contest)


@pytest.mark.parametrize(
    ("ends", "sentence", "short"),
    [
        (
            ((1.8, 10.0), (1.3, 8.0)),
            "Splitting pays: P3 answers in 1.00 s [1.00, 1.00], 1.8 times as fast as all on pi1 "
            "and 1.3 times as fast as all on pi2; P9 moves 20.0 images/s [20.0, 20.0], 2.0 times "
            "as many as all on pi1 and 2.5 times as many as all on pi2.",
            "pays",
        ),
        (
            ((1.8, 10.0), (0.5, 40.0)),
            "Splitting does not pay here: all on pi2 answers in 0.500 s [0.500, 0.500], 2.0 times "
            "as fast as the best split, P3; all on pi2 moves 40.0 images/s [40.0, 40.0], "
            "2.0 times as many as the best split, P9.",
            "does not pay",
        ),
        (
            ((0.95, 10.0), (1.3, 8.0)),
            "In latency splitting does not pay: all on pi1 answers in 0.950 s [0.950, 0.950], "
            "1.05 times as fast as the best split, P3. In throughput it pays: P9 moves "
            "20.0 images/s [20.0, 20.0], 2.0 times as many as all on pi1 and 2.5 times as many as "
            "all on pi2.",
            "pays in throughput, not in latency",
        ),
        (
            ((1.01, 20.1), (1.3, 8.0)),
            "Splitting makes no difference here: all on pi1 answers in 1.01 s [1.01, 1.01], "
            "within 2 % of the best split, P3; all on pi1 moves 20.1 images/s [20.1, 20.1], "
            "within 2 % of the best split, P9.",
            "does not pay",
        ),
    ],
)
def test_every_outcome_has_its_words(
    tmp_path: Path,
    ends: tuple[known.Point, known.Point],
    sentence: str,
    short: str,
) -> None:
    known.write(tmp_path, SPLITS, ends=ends)
    assert said(tmp_path) == (sentence, short)


def test_runs_that_cannot_tell_say_so(tmp_path: Path) -> None:
    known.write(tmp_path, SPLITS, ends=((1.02, 19.8), (1.3, 8.0)), noise=0.05)
    text, short = said(tmp_path)
    assert text.startswith("Whether splitting pays is not clear: ")
    assert text.count("the runs cannot tell which is better") == 2
    assert short == "unclear"


def test_what_was_not_measured_is_not_claimed(tmp_path: Path) -> None:
    known.write(tmp_path, SPLITS)
    text, short = said(tmp_path)
    assert "was not measured: the plan has no end points. Sweep again under another name" in text
    assert short == "not measured"


def test_an_end_point_without_a_valid_run_is_named(tmp_path: Path) -> None:
    known.write(tmp_path, SPLITS, ends=((1.8, 10.0), (1.3, 8.0)))
    [path] = tmp_path.glob("*.jsonl")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if '"all on pi2"' not in line]
    path.write_text("".join(kept), encoding="utf-8")
    text, short = said(tmp_path)
    assert "all on pi2" not in text
    assert text.endswith(" Of the two end points only all on pi1 has a valid run.")
    assert short == "pays against all on pi1"
