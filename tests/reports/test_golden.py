"""Real lines of every kind of record still give the same table."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from reports.data import cells, factors, profiles, tidy
from reports.data.records import Records, read
from reports.objectives import OBJECTIVES
from reports.statistics.judge import judge

GOLDEN = Path(__file__).parent / "golden"
EXPECTED = GOLDEN / "expected"


@pytest.fixture(scope="module")
def records() -> Records:
    return read(GOLDEN / "records")


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
    expected = table((EXPECTED / "runs.csv").read_text())
    assert len(rows) == len(expected) == 66
    for row, known in zip(rows, expected, strict=True):
        assert {key: row[key] for key in known} == known


@pytest.mark.parametrize("kind", ["profiles", "links"])
def test_profiles_and_links_lead_to_the_values_they_led_to(records: Records, kind: str) -> None:
    found = plain(getattr(profiles, kind)(records))
    expected = json.loads((EXPECTED / f"{kind}.json").read_text())
    assert len(found) == len(expected)
    for known in expected:
        assert known in [{key: one[key] for key in known} for one in found]


def test_cells_lead_to_the_medians_and_names_they_led_to(records: Records) -> None:
    assert summaries(records) == json.loads((EXPECTED / "cells.json").read_text())


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
