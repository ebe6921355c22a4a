"""Many runs: read in parallel as in sequence, little memory for each, equal values shared."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from statistics import median

import pytest

from reports.data import records as reading
from reports.data.cells import Spread, build
from reports.data.records import Records, host_facts, read
from reports.data.tidy import csv, tidy
from reports.errors import ReportError
from reports.objectives import LATENCY
from tests.made import sweep as synthetic

REPEATS = 25


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,200 runs of four cells."""
    folder = tmp_path_factory.mktemp("large")
    synthetic.write(folder, repeats=REPEATS, flaws=False, end_points=True)
    return folder


@pytest.fixture(scope="module")
def records(large: Path) -> Records:
    return read(large)


def kept_bytes(value: object, seen: set[int]) -> int:
    """Return the size of a value and all it holds, each object once."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    inner = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    inside = inner if isinstance(inner, list | tuple) else ()
    return sys.getsizeof(value) + sum(kept_bytes(item, seen) for item in inside)


def test_of_a_run_less_is_kept_than_its_line_is_long(large: Path, records: Records) -> None:
    runs = len(records.runs)
    assert runs == 4 * 22 * REPEATS
    line = sum(path.stat().st_size for path in large.iterdir()) / runs
    kept = kept_bytes(list(records.runs), set()) / runs
    assert kept < 2500 < line


def test_settings_and_hosts_are_kept_once_however_many_runs_share_them(records: Records) -> None:
    runs = records.runs
    assert len({id(run["factors"]) for run in runs}) == 4 * 22
    assert len({id(facts) for run in runs for facts in run["hosts"].values()}) == 2
    assert {name: len(facts) for name, facts in host_facts(runs).items()} == {
        "pi1": 1,
        "pi2": 1,
        "server": 1,
    }


def test_the_cells_are_those_of_the_plain_definition(records: Records) -> None:
    frame = tidy(records.runs)
    cells = build(records.plans, records.runs, frame)
    assert len(cells) == 4
    for cell in cells:
        rows = frame[(frame["cell_id"] == cell.id) & frame["counted"]]
        for split in (*cell.splits, *cell.end_points):
            own = rows[rows["cuts"] == "-".join(map(str, split.cuts))].sort_values("repeat")
            latency = own["latency_s"].tolist()
            assert [*split.values["latency_s"]] == latency
            assert [*split.values["repeat"]] == [*range(1, REPEATS + 1)]
            assert split.of(LATENCY) == Spread(median(latency), min(latency), max(latency), REPEATS)


def test_the_csv_is_what_pandas_would_write(records: Records) -> None:
    frame = tidy(records.runs)
    frame.loc[0, "message"] = 'a "quoted", comma'
    frame.loc[1, "message"] = "two\nlines"
    assert csv(frame) == frame.to_csv(index=False, lineterminator="\n")


def test_the_order_of_the_lines_changes_no_cell(records: Records) -> None:
    shuffled = random.Random(1).sample(records.runs, len(records.runs))
    one, other = (
        build(records.plans, runs, tidy(runs)) for runs in (records.runs, tuple(shuffled))
    )
    assert one == other


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four cells with flaws, profiles and links, large enough for parallel reading."""
    monkeypatch.setattr(reading, "_LARGE", 0)
    synthetic.write(tmp_path, repeats=2)
    return tmp_path


def test_two_processes_find_what_one_finds(folder: Path) -> None:
    assert reading._forked(sorted(folder.glob("*.jsonl")), 2)
    alone, together = read(folder), read(folder, processes=2)
    assert alone == together
    assert host_facts(alone.runs) == host_facts(together.runs)


def test_what_two_files_repeat_is_kept_once(folder: Path) -> None:
    first = min(folder.glob("*.jsonl"))
    (folder / "copy.jsonl").write_bytes(first.read_bytes())
    assert reading._forked(sorted(folder.glob("*.jsonl")), 2) is None
    alone, together = read(folder), read(folder, processes=2)
    assert alone == together
    assert sum(file.duplicates for file in together.files) > 2


def test_what_is_to_be_done_meanwhile_is_done_once(folder: Path) -> None:
    done: list[str] = []
    assert read(folder, 2, lambda: done.append("once")) == read(folder)
    assert done == ["once"]


def test_an_error_says_the_same_from_another_process(folder: Path) -> None:
    line = b'{"kind":"run","schema_version":2}\n'
    (folder / "newer.jsonl").write_bytes(line)
    with pytest.raises(ReportError, match=r"E_SCHEMA: .*newer\.jsonl line 1 has schema_version 2"):
        read(folder, processes=2)
