"""Reading: damage is counted, newer versions refused, the right attempt used."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from paretopipe_runtime.contract.lines import Record, checksum
from paretopipe_runtime.prediction.profiles import links, profiles
from paretopipe_runtime.prediction.spread import Spread
from reports.data.cells import Drift, build
from reports.data.records import Records, read
from reports.data.tidy import tidy
from reports.errors import ReportError
from reports.statistics.judge import judge
from tests.made import samples
from tests.made import sweep as synthetic
from tests.made.runs import bare


def some_cell(**plan: object) -> list[Record]:
    return [*synthetic.cell(random.Random(1), splits=[[3], [17]], **plan)]  # type: ignore[arg-type]


def excluded(records: Records) -> list[str]:
    return [str(text) for text in tidy(records.runs)["excluded"]]


def test_checksum_is_over_canonical_json_without_itself() -> None:
    # Fixed here, so that writer and reader cannot drift together.
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
    lines[6] = lines[6].replace(b'"crc32"', b'"crc3r"')  # nor does a missing sum count
    path.write_bytes(b"".join(lines))
    records = read(tmp_path)
    assert records.files[0].damaged == (3, 5, 7)
    assert not records.files[0].torn
    assert len(records.runs) == 7


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


def test_a_withdrawn_attempt_is_kept_and_does_not_count(tmp_path: Path) -> None:
    lines = some_cell()
    place = {key: lines[2][key] for key in ("cell_id", "run_key", "attempt")}
    withdrawal = {"schema_version": 1, "kind": "withdrawal", **place}
    said = {**withdrawal, "status": "invalid:shaping_lost"}
    synthetic.write_cell(tmp_path, [*lines, said, said])
    records = read(tmp_path)
    assert len(records.runs) == 10
    assert excluded(records).count("") == 9
    assert [run["status"] for run in records.runs].count("invalid:shaping_lost") == 1
    assert not records.files[0].damaged
    # A withdrawal makes nothing count.
    lines[2] = {**lines[2], "status": "invalid:throttled"}
    synthetic.write_cell(tmp_path, [*lines, {**withdrawal, "status": "ok"}])
    assert [run["status"] for run in read(tmp_path).runs].count("ok") == 9
    assert read(tmp_path).files[0].damaged


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
    late = {**bare(lines[1], "failed:E_TIMEOUT", "late"), "attempt": 2}
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


def a_block(**choices: object) -> list[Record]:
    """Return two blocks with end points and sentinels, the second measured twice."""
    return [
        *synthetic.cell(
            random.Random(1),
            splits=[[3], [9], [17]],
            repeats=2,
            end_points=True,
            sentinels=True,
            again=[2],
            **choices,  # type: ignore[arg-type]
        )
    ]


def test_end_points_are_measured_and_are_no_splits(tmp_path: Path) -> None:
    synthetic.write_cell(tmp_path, a_block(allocators=["tuned", "default"]))
    records = read(tmp_path)
    frame = tidy(records.runs)
    cell = build(records.plans, records.runs, frame)[0]
    assert [split.name for split in cell.splits] == ["P3", "P9", "P17"]
    assert {split.name for split in judge(cell).front(cell)} <= {"P3", "P9", "P17"}
    assert [(end.name, end.cuts, end.runs) for end in cell.end_points] == [
        ("all on pi1", (), 2),
        ("all on pi2", (0,), 2),
    ]
    assert [stage.host for stage in cell.end_points[0].stages] == ["pi1"]
    assert cell.hosts == ("pi1", "pi2")
    assert frame[frame["role"] == "end_point"]["counted"].sum() == 4


def test_an_end_point_of_another_allocator_is_not_mixed_in(tmp_path: Path) -> None:
    lines = a_block(allocators=["tuned", "default"])
    for line in lines:
        if line.get("factors", {}).get("cuts") == []:
            line["factors"]["allocators"] = ["default"]
    synthetic.write_cell(tmp_path, lines)
    reasons = [text for text in excluded(read(tmp_path)) if text.startswith("settings")]
    assert set(reasons) == {"settings:allocators default, newest tuned"}


def test_a_sentinel_is_no_replicate_of_its_split(tmp_path: Path) -> None:
    synthetic.write_cell(tmp_path, a_block())
    records = read(tmp_path)
    frame = tidy(records.runs)
    watching = frame[frame["role"] == "sentinel"]
    assert set(watching["cuts"]) == {"9"}
    assert set(watching["sentinel"]) == {"open", "close"}
    assert not watching["counted"].any()
    middle = build(records.plans, records.runs, frame)[0].splits[1]
    assert (middle.name, middle.runs, middle.attempts) == ("P9", 2, 3)


@pytest.mark.parametrize("lost", ["", "P3"])
def test_a_second_pass_replaces_the_first_as_a_whole_or_not_at_all(
    tmp_path: Path, lost: str
) -> None:
    lines = a_block()
    for line in lines[1:]:
        if line.get("block_pass") == 2 and line["factors"]["split"] == lost:
            line["status"] = "failed:E_PEER_LOST"
        if line["factors"]["split"] == "P9" and line.get("block_pass", 1) == 1 and lost:
            line["status"] = "failed:E_PEER_LOST"  # valid in the second pass alone
    synthetic.write_cell(tmp_path, lines)
    records = read(tmp_path)
    frame = tidy(records.runs)
    frame = frame[(frame["repeat"] == 2) & (frame["role"] != "sentinel")]
    reasons = {
        number: passed.groupby("excluded")["split"].apply(set).to_dict()
        for number, passed in frame.groupby("block_pass")
    }
    every = {"P3", "P9", "P17", "all on pi1", "all on pi2"}
    if not lost:
        again = "superseded:round measured again, its sentinel shifted"
        assert reasons == {1: {again: every}, 2: {"": every}}
    else:
        partly = "superseded:round not measured again as a whole, so its first pass counts"
        failed = "failed:E_PEER_LOST"
        assert reasons[1] == {"": every - {"P9"}, failed: {"P9"}}
        assert reasons[2] == {partly: every - {"P3"}, failed: {"P3"}}


def test_drifts_are_the_close_of_a_block_against_its_open(tmp_path: Path) -> None:
    lines = a_block()
    for line in lines[1:]:
        if line["factors"].get("sentinel"):
            late = line["factors"]["sentinel"] == "close" and line["factors"]["repeat"] == 1
            line["latency"]["median_s"] = 3.0 if late else 2.0
            line["throughput"]["sustained_img_s"] = 3.0 if late else 4.0
    synthetic.write_cell(tmp_path, lines[:-1])  # interrupted: the last sentinel is missing
    records = read(tmp_path)
    cell = build(records.plans, records.runs, tidy(records.runs))[0]
    assert cell.drifts == (
        Drift(round=1, block_pass=1, shifts=(0.5, -0.25)),
        Drift(round=2, block_pass=1, shifts=(0.0, 0.0)),
        Drift(round=2, block_pass=2, shifts=()),
    )


def test_the_table_says_what_host_and_processor_did(tmp_path: Path) -> None:
    lines = [*synthetic.cell(random.Random(1), "pi_to_gpu", ["pi1", "server"], splits=[[3]])]
    synthetic.write_cell(tmp_path, lines)
    records = read(tmp_path)
    frame = tidy(records.runs)
    row = frame.iloc[0]
    assert (row["role"], row["block_pass"]) == ("split", 1)
    assert (row["stage1_device"], row["stage2_device"]) == ("cpu", "cuda")
    assert (row["stage1_host_memory_percent"], row["stage1_host_cpu_percent"]) == (31.5, 64.0)
    assert row["stage2_gpu_percent"] == 22.0
    stages = build(records.plans, records.runs, frame)[0].splits[0].stages
    assert [stage.device for stage in stages] == ["cpu", "cuda"]
    assert [stage["gpu_percent"] for stage in stages] == [None, Spread(22.0, 22.0, 22.0, 5)]


def test_profiles_are_medians_of_medians_over_fresh_processes(tmp_path: Path) -> None:
    lines = [*samples.profile(random.Random(1), hosts=["pi1"], repeats=3)]
    for line, seconds in zip(lines[1:], (1.0, 2.0, 4.0), strict=True):
        line["blocks"][0]["compute_s"] = [seconds, seconds, 9.0]
    failed = {**lines[1], "run_key": "another", "status": "failed:E_TIMEOUT"}
    synthetic.write_cell(tmp_path, [*lines, failed])
    [profile] = profiles(read(tmp_path).profiles)
    assert (profile.model, profile.host, profile.runs, profile.attempts) == (
        *("mobilenetv2", "pi1", 3, 4),
    )
    assert profile.blocks[0].compute_s == Spread(2.0, 1.0, 4.0, 3)
    assert [block.index for block in profile.blocks] == [*range(21)]


def test_links_are_by_hosts_backend_and_network(tmp_path: Path) -> None:
    for workers in (["pi1", "pi2"], ["pi1", "server"]):
        synthetic.write_cell(tmp_path, [*samples.link(random.Random(1), workers)])
    records = read(tmp_path)
    found = links(records.links)
    assert [(link.hosts, link.runs) for link in found] == [
        (("pi1", "pi2"), 5),
        (("pi1", "server"), 5),
    ]
    assert [move.payload_bytes for move in found[0].transfers] == samples.PAYLOADS
    assert (found[0].rtt_ms, found[0].rate_mbit) == (0.2, 930.0)
    assert build(records.plans, records.runs, tidy(records.runs)) == []
