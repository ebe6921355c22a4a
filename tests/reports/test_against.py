"""A report against another sweep: planted changes, what differs besides, and mistakes."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from paretopipe_runtime.contract.lines import Record
from reports import cli
from reports.data.records import read
from reports.errors import ReportError
from reports.page.render import pages
from tests.made import sweep as synthetic
from tests.reports.conftest import MODEL


def write(folder: Path, seed: int, change: Callable[[Record], None], **cell: object) -> Path:
    """Write a sweep of one cell, every run changed."""
    folder.mkdir()
    lines = [*synthetic.cell(random.Random(seed), **cell)]  # type: ignore[arg-type]
    for line in lines[1:]:
        change(line)
    synthetic.write_cell(folder, lines)
    return folder


def slower(line: Record) -> None:
    """A later day: another kernel on pi1, and P9 answers an eighth later."""
    line["hosts"]["pi1"]["kernel"] = "6.12"
    line["started_at"] = line["started_at"].replace("2000-01-01", "2000-01-08")
    if line["factors"]["cuts"] == [9]:
        line["latency"]["median_s"] *= 1.125


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweeps")
    write(folder / "before", 1, lambda _: None, splits=[[k] for k in range(2, 12)])
    write(folder / "after", 2, slower, splits=[[k] for k in range(3, 13)])
    return folder


def section(text: str | bytes) -> str:
    found = re.search(r'<section id="against">.*?</section>', str(text), re.DOTALL)
    assert found
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found[0]))


def test_the_planted_change_is_found_and_what_differs_besides_is_named(sweeps: Path) -> None:
    made = pages(read(sweeps / "after"), other=read(sweeps / "before"))
    text = section(made[MODEL])
    rest = "1 changed too little to matter; 18 show no change beyond noise."
    headline = f"1 of 20 comparisons changed; {rest}"
    assert headline in text
    assert headline in str(made["index.html"])
    assert re.search(
        r"Latency: 1\.0[12] \[[^]]+] times over 9 splits, too little to matter\.", text
    )
    assert re.search(
        r"One by one: changed at P9 , to 1\.1\d times; no change beyond noise at", text
    )
    assert re.search(r"Kernel of pi1 synthetic 6\.12 ", text)
    assert re.search(r"Measured 2000-01-01 [^M]+ 2000-01-08 ", text)
    assert "PyTorch of" not in text
    assert "P12 measured in after only" in text
    assert "P2 measured in before only" in text


def test_without_another_sweep_there_is_no_such_section(page: str) -> None:
    assert 'id="against"' not in page


def test_sweeps_with_nothing_in_common_are_told(sweeps: Path, tmp_path: Path) -> None:
    def smaller(line: Record) -> None:
        line["factors"]["image_px"] = 32

    small = read(write(tmp_path / "small", 3, smaller, splits=[[9]]))
    with pytest.raises(ReportError, match=r"image px 224 against 32.* — name another"):
        pages(read(sweeps / "after"), other=small)
    vgg16 = read(write(tmp_path / "vgg16", 3, lambda _: None, splits=[[9]], model="vgg16"))
    with pytest.raises(ReportError, match=r"vgg16 has vgg16\.socket\.pi_to_pi\.baseline"):
        pages(read(sweeps / "after"), other=vgg16)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["aftr"], "no sweep aftr in .*, expected one of after and before — name one"),
        (["after", "--against", "last"], "no sweep last in .*expected one of after and before"),
        (["after", "--against", "after"], "compared with itself, expected another of after and"),
    ],
)
def test_a_misspelt_sweep_lists_those_there_are(
    sweeps: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    words = [word if word.startswith("-") else str(sweeps / word) for word in arguments]
    assert cli.main([*words, "--out", str(sweeps / "out")]) == 2
    assert re.search(sentence, capsys.readouterr().err)
    assert not (sweeps / "out").exists()
