"""Reading: damage is counted, the newer refused, and only the right attempt counts."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from reports.data.cells import build
from reports.data.records import Record, Records, checksum, read
from reports.data.tidy import tidy
from reports.errors import ReportError
from tests.reports import synthetic_sweep as synthetic


def some_cell(**plan: object) -> list[Record]:
    return [*synthetic.cell(random.Random(1), splits=[[3], [17]], **plan)]  # type: ignore[arg-type]


def excluded(records: Records) -> list[str]:
    return [str(text) for text in tidy(records.runs)["excluded"]]


def test_checksum_is_over_canonical_json_without_itself() -> None:
    # The value is fixed here so that writer and reader cannot drift apart together.
    assert checksum({"b": "é", "a": [1.5, None], "crc32": "ignored"}) == "429cc8ef"


def test_a_torn_last_line_is_counted_and_the_rest_kept(tmp_path: Path) -> None:
    path = synthetic.write_cell(tmp_path, some_cell())
    path.write_bytes(path.read_bytes()[:-40])
    records = read(tmp_path)
    assert records.files[0].torn
    assert len(records.runs) == 9


def test_a_changed_line_is_damaged_not_believed(tmp_path: Path) -> None:
    path = synthetic.write_cell(tmp_path, some_cell())
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"status": "ok"', b'"status": "OK"')
    lines[4] = b"\xff not JSON\n"
    path.write_bytes(b"".join(lines))
    records = read(tmp_path)
    assert records.files[0].damaged == (3, 5)
    assert not records.files[0].torn
    assert len(records.runs) == 8


def test_repeated_lines_count_once_whichever_file_repeats_them(tmp_path: Path) -> None:
    path = synthetic.write_cell(tmp_path, some_cell())
    (tmp_path / "zz-copy.jsonl").write_bytes(path.read_bytes())
    records = read(tmp_path)
    assert [file.duplicates for file in records.files] == [0, 10]
    assert len(records.runs) == 10


def test_a_newer_schema_asks_for_an_upgrade(tmp_path: Path) -> None:
    newer = {"schema_version": 2, "kind": "run"}
    (tmp_path / "new.jsonl").write_text(json.dumps(newer) + "\n")
    with pytest.raises(ReportError, match="schema_version 2, expected at most 1 — upgrade"):
        read(tmp_path)


@pytest.mark.parametrize("content", [None, "", "not a record\n"])
def test_nothing_to_read_is_said_in_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "cell.jsonl").write_text(content)
    with pytest.raises(ReportError, match="E_NO_RECORDS") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_latest_valid_attempt_counts(tmp_path: Path) -> None:
    lines = some_cell()
    bad = {**lines[1], "status": "invalid:network"}
    first, second = {**lines[1], "attempt": 2}, {**lines[1], "attempt": 3}
    synthetic.write_cell(tmp_path, [lines[0], bad, first, second])
    assert excluded(read(tmp_path)) == [
        "invalid:network",
        "superseded:attempt 3 is valid too and later",
        "",
    ]


def test_a_failure_after_a_valid_attempt_takes_nothing_away(tmp_path: Path) -> None:
    lines = some_cell()
    late = {**synthetic.bare(lines[1], "failed:E_TIMEOUT", "late"), "attempt": 2}
    synthetic.write_cell(tmp_path, [*lines[:2], late])
    assert excluded(read(tmp_path)) == ["", "failed:E_TIMEOUT"]


def test_runs_under_earlier_settings_are_not_mixed_in(tmp_path: Path) -> None:
    lines = some_cell()
    lines[1]["factors"]["window"] = 1
    synthetic.write_cell(tmp_path, lines)
    reasons = excluded(read(tmp_path))
    assert reasons == ["settings:window 1, newest 4", *[""] * 9]


@pytest.mark.parametrize("broken", [{"latency": {}}, {"stages": 7}, {"throughput": {"img_s": 0}}])
def test_a_valid_run_without_its_numbers_is_left_out(
    tmp_path: Path, broken: dict[str, object]
) -> None:
    lines = some_cell()
    lines[1] |= broken
    synthetic.write_cell(tmp_path, lines)
    assert excluded(read(tmp_path))[0].startswith("incomplete:")


def test_planned_splits_without_a_record_get_a_row(tmp_path: Path) -> None:
    lines = [line for line in some_cell() if line.get("factors", {}).get("cuts") != [17]]
    synthetic.write_cell(tmp_path, lines)
    records = read(tmp_path)
    cell = build(records.plans, records.runs, tidy(records.runs))[0]
    assert [(split.name, split.runs) for split in cell.splits] == [("P3", 5), ("P17", 0)]
    assert cell.missing == ("P17",)


def test_all_splits_of_a_plan_are_known_before_the_first_run(tmp_path: Path) -> None:
    plan = next(synthetic.cell(random.Random(1)))
    synthetic.write_cell(tmp_path, [plan])
    records = read(tmp_path)
    cell = build(records.plans, records.runs, tidy(records.runs))[0]
    assert len(cell.planned) == len(cell.missing) == 20


def test_three_stages_make_two_cuts(tmp_path: Path) -> None:
    workers, splits = ["pi1", "pi2", "server"], [[3, 17], [8, 19]]
    lines = [*synthetic.cell(random.Random(1), "pi_pi_gpu", workers, splits=splits)]
    synthetic.write_cell(tmp_path, lines)
    records = read(tmp_path)
    first = build(records.plans, records.runs, tidy(records.runs))[0].splits[0]
    assert (first.name, first.cuts) == ("P3-17", (3, 17))
    assert [stage.host for stage in first.stages] == workers
    assert [hop for hop, _ in first.hops] == ["pi1 → pi2", "pi2 → server"]
