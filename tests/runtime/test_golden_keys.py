"""Keys of runs, profiles and links are what they were: an earlier sweep finds its measurements."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.models.boundaries import boundary_shapes
from paretopipe_runtime.orchestrator import profile_blocks, profile_link
from paretopipe_runtime.orchestrator.runs import More, expand

GOLDEN = Path(__file__).parents[1] / "reports/golden"
KEYS: dict[str, list[str]] = json.loads((GOLDEN / "keys.json").read_text())


def keys(document: dict[str, Any]) -> list[str]:
    """Return the keys of all that a plan asks to measure, in their order."""
    if document.get("kind") == "profile":
        return [run.key for run in profile_blocks.work_of(document, Path()).runs]
    if document.get("kind") == "link":
        return [run.key for run in profile_link.work_of(document).runs]
    plan = read_plan(document)
    work = plan.workload
    shapes = boundary_shapes(work.model, work.classes, work.batch_size, work.image_px)
    more = [*map(More.from_json, document.get("more", ()))]
    runs = expand(plan, lambda cuts: [shapes[cut].nbytes for cut in (*cuts, -1)], more)
    return [run.key for run in runs]


@pytest.fixture(autouse=True)
def unprepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_blocks, "prepare", lambda *_: SimpleNamespace(flops=[]))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("plans/*.json")), ids=lambda path: path.stem)
def test_a_plan_leads_to_the_keys_it_led_to(path: Path) -> None:
    assert keys(json.loads(path.read_text())) == KEYS[path.stem]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("records/*.jsonl")), ids=lambda path: path.stem)
def test_the_plan_of_a_record_file_leads_to_the_keys_of_its_records(path: Path) -> None:
    first, *rest = map(json.loads, path.read_text().splitlines())
    found = keys(first["plan"])
    assert found == KEYS[path.stem]
    measured = {line["run_key"] for line in rest if line["kind"] in ("run", "profile", "link")}
    assert measured
    assert measured <= set(found)
