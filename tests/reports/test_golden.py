"""Real lines of every kind of record still give the same table, and their plans the same keys."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.models.boundaries import boundary_shapes
from paretopipe_runtime.orchestrator import profile_blocks, profile_link
from paretopipe_runtime.orchestrator.runs import More, expand
from paretopipe_runtime.prediction import profiles
from reports.data import cells, factors, tidy
from reports.data.records import Records, read
from reports.objectives import OBJECTIVES
from reports.statistics.judge import judge

GOLDEN = Path(__file__).parent / "golden"
HEADING = re.compile(r"^==> (.+) <==\n", re.MULTILINE)


def files(name: str) -> dict[str, str]:
    """Return the text of each file that a golden file holds, by its name."""
    _, *parts = HEADING.split((GOLDEN / name).read_bytes().decode())
    return dict(zip(parts[::2], parts[1::2], strict=True))


RECORDS, PLANS, EXPECTED = map(files, ("records.txt", "plans.txt", "expected.txt"))
KEYS: dict[str, list[str]] = json.loads(EXPECTED["keys.json"])


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = tmp_path_factory.mktemp("golden")
    for name, text in RECORDS.items():
        (folder / name).write_bytes(text.encode())
    return read(folder)


def table(text: str) -> list[dict[str, str]]:
    return [*csv.DictReader(text.splitlines())]


def plain(found: tuple[Any, ...]) -> Any:
    every = [{**dataclasses.asdict(one), **one.variant} for one in found]
    return json.loads(json.dumps(every))


def test_every_line_is_read(records: Records) -> None:
    assert not any(file.damaged or file.torn or file.unknown for file in records.files)
    lines = sum(len(file.path.read_text().splitlines()) for file in records.files)
    assert sum(file.runs for file in records.files) == lines - 18 - 1 - 1  # plans, drift, withdrawn
    assert len(records.plans) == 12
    assert len(records.drifts) == 1


def test_runs_lead_to_the_values_they_led_to(records: Records) -> None:
    """Ignores further columns."""
    rows = table(tidy.csv(tidy.tidy(records.runs)))
    expected = table(EXPECTED["runs.csv"])
    assert len(rows) == len(expected) == 66
    for row, known in zip(rows, expected, strict=True):
        assert {key: row[key] for key in known} == known


@pytest.mark.parametrize("kind", ["profiles", "links"])
def test_profiles_and_links_lead_to_the_values_they_led_to(records: Records, kind: str) -> None:
    found = plain(getattr(profiles, kind)(getattr(records, kind)))
    expected = json.loads(EXPECTED[f"{kind}.json"])
    assert len(found) == len(expected)
    for known in expected:
        assert known in [{key: one[key] for key in known} for one in found]


def test_cells_lead_to_the_medians_and_names_they_led_to(records: Records) -> None:
    assert summaries(records) == json.loads(EXPECTED["cells.json"])


def summaries(records: Records) -> dict[str, Any]:
    found = cells.build(records.plans, records.runs, tidy.tidy(records.runs))
    names = factors.Naming.of(found)
    return {
        cell.id: {
            "name": names.place(cell),
            "front": [split.name for split in judge(cell).front(cell)],
            "missing": list(cell.missing),
            "splits": {
                split.name: [split.runs, *map(split.median, OBJECTIVES)]
                for split in (*cell.measured, *cell.end_points)
                if split.runs
            },
        }
        for cell in found
    }


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


@pytest.fixture
def unprepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_blocks, "prepare", lambda *_: SimpleNamespace(flops=[]))


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.usefixtures("unprepared")
def test_a_plan_leads_to_the_keys_it_led_to(name: str) -> None:
    assert keys(json.loads(PLANS[name])) == KEYS[Path(name).stem]


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.usefixtures("unprepared")
def test_the_plan_of_a_record_file_leads_to_the_keys_of_its_records(name: str) -> None:
    first, *rest = map(json.loads, RECORDS[name].splitlines())
    found = keys(first["plan"])
    assert found == KEYS[Path(name).stem]
    measured = {line["run_key"] for line in rest if line["kind"] in ("run", "profile", "link")}
    assert measured
    assert measured <= set(found)
