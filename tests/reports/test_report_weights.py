"""Table I's accuracy and the weights' origin come from the records, or are absent."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.contract.lines import Record
from reports.data.plans import in_force
from reports.data.records import read
from reports.data.trained import trained
from reports.page.render import pages
from tests.made import sweep as synthetic

STATED: dict[str, Any] = {
    **{"name": "finetuned", "digest": "ab" * 32, "source": "finetuned", "dataset": "digits"},
    **{"image_px": 32, "accuracy": 0.9749303621169917, "test_images": 359, "epochs": 10},
    "base": "none",
}


def lines(stated: Any = None) -> list[Record]:
    """A small cell with these weights instead of seeded ones."""
    made = [*synthetic.cell(random.Random(1), splits=[[3], [17]], repeats=2)]
    for line in made if stated else ():
        if line["kind"] == "plan":
            line["plan"] |= {"weights": "finetuned", "weights_digest": "ab" * 32}
            line["plan"]["weights_manifest"] = {"blocks": [{"sha256": "0" * 64}] * 39}
            continue
        del line["factors"]["weights_seed"]
        line["factors"] |= {"weights": "finetuned", "weights_digest": "ab" * 32}
        line["weights"] = stated
        line["proof"]["weights_digest"] = "ab" * 32
    return made


def page(folder: Path, made: list[Record]) -> str:
    synthetic.write_cell(folder, made)
    text = re.sub(r"<[^>]+>", " ", pages(read(folder))["mobilenetv2.html"])
    return re.sub(r"\s+", " ", text)


def test_table_one_has_our_accuracy_beside_the_paper_s(tmp_path: Path) -> None:
    text = page(tmp_path, lines(STATED))
    ours = "97.5 % on handwritten digits (UCI) (359 held-out images, 32×32)"
    assert re.search(rf"Here .{{0,60}}{re.escape(ours)}.{{0,60}}Paper .*90.1 % on CIFAR-10", text)
    told = (
        "Weights finetuned: fine-tuned on handwritten digits (UCI) for 10 epochs from random values"
    )
    assert told in text
    assert "ab" * 32 in text
    assert "Seed of the weights" not in text


def test_seeded_weights_have_none(tmp_path: Path) -> None:
    text = page(tmp_path, lines())
    assert "not measured: seeded weights" in text
    assert "Seed of the weights 0" in text


@pytest.mark.parametrize(
    "change",
    [
        {"accuracy": 1.5},
        {"accuracy": math.nan},
        {"accuracy": None},
        {"name": "<script>" * 100},
        {"dataset": 3},
        {"epochs": -1},
        {"base": ["x"]},
    ],
)
def test_what_is_no_accuracy_is_not_shown(tmp_path: Path, change: dict[str, Any]) -> None:
    assert trained({**STATED, **change}) is None
    text = page(tmp_path, lines({**STATED, **change}))
    assert "held-out" not in text
    assert "not measured" in text


def test_a_name_is_text_and_not_markup(tmp_path: Path) -> None:
    synthetic.write_cell(tmp_path, lines({**STATED, "dataset": "<script>alert(1)</script>"}))
    html = pages(read(tmp_path))["mobilenetv2.html"]
    assert "97.5 % on &lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script>alert(1)" not in html


def test_runs_with_other_weights_are_not_mixed(tmp_path: Path) -> None:
    earlier, later = lines(), lines(STATED)
    for number, line in enumerate(later):
        if line["kind"] == "run":
            line |= {"run_key": f"{number:016x}", "started_at": "2000-01-02T10:00:00Z"}
    text = page(tmp_path, [*earlier, *later])
    assert "weights not recorded, newest finetuned" in text
    assert "97.5 % on handwritten digits" in text


def test_a_plan_is_in_force_for_runs_with_its_weights_only() -> None:
    seeded, named = {"weights_seed": 0}, {"weights": "finetuned", "weights_digest": "ab"}
    assert in_force([named, seeded], {"weights": "finetuned", "weights_digest": "ab"}) == named
    assert in_force([seeded, named], {"weights_seed": 0}) == seeded
    assert in_force([seeded, named], {}) == named
