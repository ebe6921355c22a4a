"""Accuracy of codecs in the page: who is picked, what is told, and where nothing is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.contract.lines import Record
from reports.data.records import read
from reports.page.render import pages
from reports.page.sections.verdict import decision
from reports.page.sections.verdict.notes import notes
from tests.made import doubtful, known
from tests.made import sweep as synthetic

DIGEST = "ab" * 32
CODECS = {"none": 1.0, "int8": 1.25, "int4": 1.6}
# Images of 400 that only the unsplit network tells, and only the split does.
ALONE = {("int8", 3): (2, 1), ("int8", 9): (3, 3), ("int4", 3): (30, 4), ("int4", 9): (12, 4)}


def told(codec: str, cut: int, **change: Any) -> Record:
    only_unsplit, only_split = ALONE[codec, cut]
    return {
        **{"schema_version": 1, "kind": "accuracy", "weights_digest": DIGEST},
        **{"dataset": "digits", "cuts": [cut, codec], "images": 400, "unsplit": 388},
        **{"only_unsplit": only_unsplit, "only_split": only_split, **change},
    }


EVERY = [told(*one) for one in ALONE]


def write(folder: Path, told: list[Record], weights: str = DIGEST) -> None:
    """Write a cell of two cuts and three codecs, trained unless `weights` is empty."""
    points = {3: (1.0, 10.0), 9: (2.0, 6.0)}
    ends = ((1.8, 6.0), (1.9, 7.0))
    known.write(folder, points, ends=ends, noise=0.005, codecs=CODECS)
    (path,) = folder.glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    synthetic.write_cell(folder, trained(lines, told, weights))


def trained(lines: list[Record], told: list[Record], weights: str = DIGEST) -> list[Record]:
    """Return a cell's lines as of trained weights, and what is told of them."""
    for line in lines:
        line.pop("crc32", None)
        place = line["plan"] if line["kind"] == "plan" else line["factors"]
        if weights:
            place.pop("weights_seed", None)
            place |= {"weights": "finetuned", "weights_digest": weights}
    cell_id = lines[0]["plan"]["cell_id"]
    return [*lines, *({"cell_id": cell_id, **one} for one in told)]


def said(folder: Path) -> dict[str, str]:
    sheet = known.sheet(folder)
    (cell,) = sheet.cells
    return known.plain(decision.sentences(cell, sheet))


def warned(folder: Path) -> str:
    sheet = known.sheet(folder)
    return " ".join(notes(sheet.records, sheet.cells, sheet.frame))


def test_a_reader_learns_which_codec_costs_how_much(tmp_path: Path) -> None:
    write(tmp_path, EVERY)
    found = said(tmp_path)
    assert found[""].startswith("Pick P3 int8")
    assert found["Accuracy"] == (
        "P3 int8 tells 96.8 % of 400 held-out images right, −0.2 points against unsplit (p = 1); "
        "int8 at worst −0.2 points (P3 int8, p = 1); int4 at worst −6.5 points (P3 int4, "
        "p < 0.001). No pick, for they lose more than 0.5 points: P3 int4 and P9 int4."
    )
    assert found["Sent as int4"].startswith("P3 int4 −6.5 points ")
    text = pages(read(tmp_path))["mobilenetv2.html"]
    assert "90.5 (−6.5 points, p &lt; 0.001)" in text
    plain = re.sub(r"<[^>]+>", "", text)
    assert "P3 int4 −6.5 points" in plain
    assert "◈ on (by time alone): P3 int4. " in plain
    assert "◈ on (by time alone) 1.00" in plain
    assert (
        "with a dot: by time alone, for it loses more than 0.5 points, and is never picked" in plain
    )
    assert "third goal of the front, with a margin of 0.5 points" in text
    assert "Accuracy is a third goal, with a margin of 0.5 points" in text
    wide = pages(read(tmp_path), accuracy_margin=2)["mobilenetv2.html"]
    assert "Accuracy is a third goal, with a margin of 2 points" in wide
    assert 'lose more than 2 points: <a href="#row-' in wide
    every = pages(read(tmp_path), accuracy_margin=7)["mobilenetv2.html"]
    assert not [said for said in ("lose more", "by time alone:", "◈") if said in every]


@pytest.mark.parametrize(
    ("lines", "weights", "note"),
    [
        (EVERY, "", "with random weights an answer is right by chance alone"),
        (EVERY, "cd" * 32, "not every split has been tried on held-out images yet"),
        (EVERY[1:], DIGEST, "not every split has been tried on held-out images yet"),
        ([{**EVERY[0], "reason": "data set <b>flowers</b> is not there"}], DIGEST, "is not there"),
    ],
    ids=["random weights", "other weights", "a split's is not known", "a reason"],
)
def test_without_every_split_s_accuracy_time_alone_judges(
    tmp_path: Path, lines: list[Record], weights: str, note: str
) -> None:
    write(tmp_path, lines, weights)
    found = said(tmp_path)
    assert found[""].startswith("Pick P3 int4")
    assert "Accuracy" not in found
    assert note in warned(tmp_path)
    text = pages(read(tmp_path))["mobilenetv2.html"]
    assert "third goal" not in text
    assert "<b>flowers" not in text


def test_what_accuracy_rules_out_is_off_by_it_alone(tmp_path: Path) -> None:
    lossy = {"images": 400, "unsplit": 388, "only_unsplit": 9, "only_split": 0}
    lines = [{**EVERY[0], **lossy, "cuts": [cut, "int8"]} for cut in range(21)]
    found = doubtful.cell(codecs=["none", "int8"])
    synthetic.write_cell(tmp_path, trained(found, lines))
    text = re.sub(r"<[^>]+>", "", pages(read(tmp_path))["mobilenetv2.html"])
    assert text.count("off (accuracy) 0.00") == 20
    assert "● off (accuracy): 7 splits. ○ off (accuracy): 13 splits." in text
    assert not re.search("(dominated by|rival) P[0-9]+ int8", text)
    assert "Where only what is in doubt is measured, a split" in text
    wide = pages(read(tmp_path), accuracy_margin=9)["mobilenetv2.html"]
    assert "off (accuracy) " not in wide


def test_the_latest_line_of_a_split_holds(tmp_path: Path) -> None:
    write(tmp_path, [told("int8", 3, only_unsplit=200), *EVERY])
    assert said(tmp_path)[""].startswith("Pick P3 int8")


SPOILT: dict[str, Callable[[Record], Record]] = {
    "a number": lambda one: {**one, "cuts": 3},
    "another codec": lambda one: {**one, "cuts": [3, "zstd"]},
    "no codec": lambda one: {**one, "cuts": [3]},
    "more than there are": lambda one: {**one, "unsplit": 500},
    "text": lambda one: {**one, "images": "400"},
    "no weights": lambda one: {**one, "weights_digest": None},
    "a long reason": lambda one: {**one, "reason": "x" * 10_000},
    "no reason": lambda one: {**one, "reason": ""},
    "a reason that is none": lambda one: {**one, "reason": ["x"]},
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_line_that_cannot_be_is_damaged_and_left_out(
    tmp_path: Path, spoil: Callable[[Record], Record]
) -> None:
    write(tmp_path, [spoil(EVERY[0]), *EVERY])
    (file,) = read(tmp_path).files
    assert len(file.damaged) == 1
    assert said(tmp_path)[""].startswith("Pick P3 int8")
