"""The paper's facts, and real Pis' times in the same pipeline against its Table II."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from reports import paper
from reports.data.cells import Cell
from reports.data.records import read
from reports.page.render import pages
from reports.page.sections import resources
from reports.page.sheet import Sheet
from reports.paper import highlights
from reports.statistics.judge import Judgement
from tests.made import pi4b
from tests.made.sweep import seal


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pi4b")
    pi4b.write(folder)
    return folder


@pytest.fixture(scope="module")
def sheets(folder: Path) -> dict[str, Sheet]:
    return {sheet.model: sheet for sheet in Sheet.each(read(folder))}


@pytest.fixture(scope="module")
def made(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The report of the three models read here."""
    three = tmp_path_factory.mktemp("three")
    for model in ("alexnet", "resnet50", "vgg16"):
        shutil.copy(folder / f"{model}.socket.pi_to_pi.baseline.jsonl", three)
    return pages(read(three))


def cell(sheets: dict[str, Sheet], model: str) -> Cell:
    [found] = sheets[model].cells
    return found


def judgement(sheets: dict[str, Sheet], model: str) -> Judgement:
    return sheets[model].judgements[cell(sheets, model).id]


def text(markup: object) -> str:
    return re.sub(r"<[^>]+>", "", str(markup)).replace("\N{NO-BREAK SPACE}", " ")


def test_the_papers_models_are_the_runtimes() -> None:
    assert set(paper.MODELS) == set(MODEL_NAMES)
    for name in MODEL_NAMES:
        known = model_info(name)
        assert (paper.MODELS[name].blocks, paper.image_px(name)) == (known.blocks, known.image_px)


def test_every_highlighted_split_is_a_cut_of_its_model() -> None:
    for model in MODEL_NAMES:
        rows = [*highlights(model, "pi_to_pi"), *highlights(model, "pi_to_gpu")]
        assert [row.shown_as for row in rows] == [
            *("highest throughput", "lowest latency", "only front point"),
        ]
        assert all(1 <= row.cut < model_info(model).blocks for row in rows)
    assert highlights("mobilenetv3", "pi_to_pi") == ()
    assert highlights("vgg16", "gpu_to_gpu") == ()


def test_the_papers_resnets_are_cut_after_residual_blocks() -> None:
    # The stem is four of our blocks and none of the paper's.
    for model in ("resnet18", "resnet50"):
        blocks = model_info(model).block_names
        for row in highlights(model, "pi_to_pi"):
            assert sum(name.startswith("layer") for name in blocks[: row.cut]) == row.split
    [first] = highlights("resnet50", "pi_to_gpu")
    assert model_info("resnet50").block_names[first.cut - 1] == "layer1.0"


def test_the_real_pis_agree_with_the_papers_numbering(sheets: dict[str, Sheet]) -> None:
    """At the same cut both measured the same work."""
    for model, sheet in sheets.items():
        splits = {split.cuts[0]: split for split in sheet.cells[0].measured}
        for row in highlights(model, "pi_to_pi"):
            first, second = (stage["compute_s"] for stage in splits[row.cut].stages)
            assert first is not None
            assert second is not None
            ours = first.median / (first.median + second.median)
            assert ours == pytest.approx(row.compute_s[0] / sum(row.compute_s), abs=0.06), model


def test_every_row_of_the_file_is_a_run() -> None:
    found = Counter(model for model, _, _ in pi4b.rows())
    assert found == {
        **{"alexnet": 12, "inceptionv3": 19, "mobilenetv2": 18},
        **{"resnet18": 8, "vgg16": 30, "resnet50": 18},
    }


def test_six_fronts(sheets: dict[str, Sheet]) -> None:
    fronts = {
        model: [split.name for split in judgement(sheets, model).front(cell(sheets, model))]
        for model in sheets
    }
    assert fronts == {
        "alexnet": ["P6", "P8", "P11", "P10", "P9"],
        "inceptionv3": ["P19", "P17", "P14", "P10"],
        "mobilenetv2": ["P6", "P5", "P3"],
        "resnet18": ["P12", "P8", "P6"],
        "resnet50": ["P19", "P16", "P11", "P9"],
        "vgg16": ["P29", "P17", "P15", "P16", "P13", "P14"],
    }


def test_splits_that_the_file_lacks_are_named(sheets: dict[str, Sheet]) -> None:
    assert cell(sheets, "alexnet").missing == tuple(f"P{k}" for k in range(13, 21))
    assert cell(sheets, "resnet18").missing == ("P5", "P7", "P9", "P11", "P13")
    assert cell(sheets, "vgg16").missing == tuple(f"P{k}" for k in range(31, 39))


def test_the_papers_points_against_the_computed_front(sheets: dict[str, Sheet]) -> None:
    on = {
        (model, found.highlight.name): found.by is None
        for model in sheets
        for found in resources.highlighted(cell(sheets, model))
    }
    assert [place for place, holds in on.items() if not holds] == [
        ("mobilenetv2", "P17"),
        ("resnet18", "P6"),
    ]
    assert len(on) == 12


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            "alexnet",
            [
                "P10 is the paper's highest throughput; here it is on the front too, and P9 has "
                "1.0 % more throughput.",
                "P11 is the paper's lowest latency; here it is on the front too, and P6 has "
                "2.7 % less latency.",
            ],
        ),
        ("inceptionv3", []),
        (
            "mobilenetv2",
            [
                "P17 is the paper's lowest latency; here P6 has 6.2 % less latency and 56 % more "
                "throughput, so P17 is off the strict front.",
            ],
        ),
        (
            "resnet18",
            [
                "P6 (here P10) is the paper's lowest latency; here P8 has 13 % less latency and "
                "42 % more throughput, so P10 is off the strict front; the lowest latency is "
                "P12's.",
            ],
        ),
        ("resnet50", []),
        ("vgg16", []),
    ],
)
def test_a_sentence_for_each_point_that_differs(
    sheets: dict[str, Sheet], model: str, expected: list[str]
) -> None:
    assert [
        text(said) for said in resources.sentences(cell(sheets, model), judgement(sheets, model))
    ] == expected


def test_pages_show_ours_beside_the_papers(made: dict[str, str]) -> None:
    page = text(made["resnet50.html"])
    assert "P5 (here P9) paper" in page
    assert "15 of 16 splits have one run each: no spread" in page
    assert "One run each: no spread is known" in made["alexnet.html"]
    rows = re.search(r'<section id="model">.*?</section>', made["resnet50.html"], re.DOTALL)
    assert rows
    entries = re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", rows[0])[-12:]
    assert entries[:5] == ["Here", "not recorded", "22", "not recorded", "not measured"]
    assert entries[6:11] == ["Paper", "25,557,032", "22", "91 MB", "87.2 % on CIFAR-10"]
    assert "All come out as in the paper." in page


def test_the_papers_rows_stand_only_where_its_network_was(
    folder: Path, tmp_path: Path, made: dict[str, str]
) -> None:
    path = folder / "vgg16.socket.pi_to_pi.baseline.jsonl"
    shaped = path.read_text().replace('"netem": null', '"netem": {"delay": "200ms"}')
    assert "paper</span>" in made["vgg16.html"]
    (tmp_path / path.name).write_text(resealed(shaped))
    assert "paper</span>" not in pages(read(tmp_path))["vgg16.html"]


def resealed(lines: str) -> str:
    return "".join(f"{json.dumps(seal(json.loads(line)))}\n" for line in lines.splitlines())
