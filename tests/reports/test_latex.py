"""Tables in LaTeX and fronts as PDF: what stands in them, and equal bytes."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import pytest

from reports import latex
from reports.data.records import read
from reports.latex.text import escape
from reports.page.sheet import Sheet
from tests.made import samples
from tests.made import sweep as synthetic

Files = dict[str, str | bytes]


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Sheet]:
    """Two models from Pi to Pi, one of them over a slow network too, named unkindly."""
    folder, source = tmp_path_factory.mktemp("latex"), random.Random(1)
    few = [[3], [9], [17]]
    for model in ("mobilenetv2", "vgg16"):
        cell = synthetic.cell(source, model=model, splits=few, repeats=3)
        synthetic.write_cell(folder, [*cell])
    hosts = ["pi_1", "50%_ü"]
    cell = synthetic.cell(source, "at_home", hosts, "wan", splits=few, repeats=3)
    synthetic.write_cell(folder, [*cell])
    synthetic.write_cell(folder, [*samples.profile(source)])
    return Sheet.each(read(folder))


@pytest.fixture(scope="module")
def made(sheets: Sequence[Sheet]) -> Files:
    return latex.files(sheets)


def test_a_document_has_every_table_and_figure(made: Files) -> None:
    text = str(made["paper.tex"])
    named = {f"{name}.tex" for name in re.findall(r"\\input{([^}]+)}", text)}
    named |= {f"{name}.pdf" for name in re.findall(r"\\includegraphics\[[^]]+\]{([^}]+)}", text)}
    assert named | {"paper.tex"} == made.keys()
    assert len(named) == 1 + 2 + 2


def test_tables_have_the_medians_in_the_papers_order(made: Files, sheets: Sequence[Sheet]) -> None:
    text = str(made["resources-pi-to-pi-baseline.tex"])
    [sheet] = [sheet for sheet in sheets if sheet.model == "vgg16"]
    best = sheet.cells[0].best(sheet.objectives[0])
    [row] = re.findall(rf"VGG16 \({best.name}\)\$\^a\$.*? & (.*) \\\\", text)
    entries = row.split(" & ")
    first, second = (stage["compute_s"] for stage in best.stages)
    assert first
    assert second
    assert [float(entries[0]), float(entries[1])] == pytest.approx(
        [first.median, second.median], rel=0.01
    )
    assert len(entries) == 9
    assert re.search(r"MobileNetV2 & [\d,]+ & 21 & [\d.]+ & -- ", str(made["models.tex"]))


def test_names_are_escaped(made: Files) -> None:
    text = str(made["resources-at-home-wan.tex"])
    assert r"pi\_1 & 50\%\_? & " in text
    assert all(str(one).isascii() for name, one in made.items() if name.endswith(".tex"))
    assert escape("a\\b~×") == r"a\textbackslash{}b\textasciitilde{}$\times$"


def test_figures_are_vectors_with_fonts_that_publishers_take(made: Files) -> None:
    for name, data in made.items():
        if isinstance(data, bytes):
            assert data.startswith(b"%PDF-"), name
            assert b"/FontFile2" in data
            assert not re.search(rb"/Type3|/Subtype /Image|CreationDate", data)


def test_the_same_sheets_give_the_same_bytes(made: Files, sheets: Sequence[Sheet]) -> None:
    assert latex.files(sheets) == made
