"""Hostile record files: a clear message or a safe page, never a crash."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import re
import zlib
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paretopipe_runtime.contract import lines as contract
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.values import LARGEST, NAME
from paretopipe_runtime.prediction.profiles import links, profiles
from reports.cli import main
from reports.data import records as reading
from reports.data.cells import Cell, build
from reports.data.records import Records, read
from reports.data.shape import MESSAGE
from reports.data.tidy import csv, tidy
from reports.errors import ReportError
from tests.made import samples
from tests.made import sweep as synthetic

SCRIPT = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


def some_cell(**plan: Any) -> list[Record]:
    return [*synthetic.cell(random.Random(1), splits=[[3], [17]], repeats=2, **plan)]


def canonical(record: Record) -> bytes:
    """Return a sealed line as the runtime writes it, including NaN."""
    rest = {key: value for key, value in record.items() if key != "crc32"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    sealed = {**rest, "crc32": f"{zlib.crc32(text.encode()):08x}"}
    return json.dumps(sealed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def write(folder: Path, lines: Sequence[Record | bytes], name: str = "cell.jsonl") -> Path:
    path = folder / name
    raw = (line if isinstance(line, bytes) else canonical(line) for line in lines)
    path.write_bytes(b"".join(line + b"\n" for line in raw))
    return path


def everything(records: Records) -> tuple[list[Cell], Sequence[str]]:
    """Read cells, profiles and the CSV; return cells and reasons of omissions."""
    frame = tidy(records.runs)
    cells = build(records.plans, records.runs, frame)
    profiles(records.profiles), links(records.links)
    assert csv(frame).count("\n") >= len(frame)
    return cells, frame["excluded"].tolist()


def changed(record: Record, path: Sequence[Any], value: Any) -> Record:
    whole = copy.deepcopy(record)
    place = whole
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return whole


class Page(HTMLParser):
    """A page's tags, without scripts' text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))


# Reading


def test_a_line_in_the_written_form_is_believed_without_being_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: object) -> str:
        raise AssertionError("summed up by writing it again")

    write(tmp_path, some_cell())
    monkeypatch.setattr(contract, "checksum", never)
    assert len(read(tmp_path).runs) == 4


@pytest.mark.parametrize("spaced", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_the_checksum_holds_wherever_it_stands_and_fails_for_one_changed_digit(
    spaced: bool, first: bool
) -> None:
    sealed = synthetic.seal({"kind": "run", "a": 1.5})
    record = {"crc32": sealed["crc32"], **sealed} if first else sealed
    line = json.dumps(record, separators=None if spaced else (",", ":")).encode()
    assert contract.intact(line, record)
    other = line.replace(b"1.5", b"1.6")
    assert not contract.intact(other, json.loads(other))


def test_not_a_number_is_no_number_but_the_line_is_whole(tmp_path: Path) -> None:
    lines = some_cell()
    lines[1]["latency"]["median_s"] = float("nan")
    lines[2]["proof"]["max_rel_err"] = float("inf")
    write(tmp_path, lines)
    records = read(tmp_path)
    assert records.files[0].damaged == ()
    frame = tidy(records.runs)
    assert frame["excluded"].str.startswith("incomplete:latency").tolist() == [True, *[False] * 3]
    assert frame["max_rel_err"].isna().tolist() == [False, True, False, False]


@pytest.mark.parametrize("value", [1e308, 1e15, 10**40, -1.0, 0, True, "1.5", [1.5], {}, None])
def test_a_latency_that_none_can_have_been_is_left_out(tmp_path: Path, value: object) -> None:
    lines = some_cell()
    lines[1]["latency"]["median_s"] = value
    write(tmp_path, lines)
    _, excluded = everything(read(tmp_path))
    assert [text.partition(":")[0] for text in excluded] == ["incomplete", "", "", ""]


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[1]",
        b'"run"',
        b"1" * 5_000,
        b'{"schema_version": 1, "kind": "run", "crc32": "\\ud800"}',
        b'{"schema_version": true, "kind": "plan", "plan": {"cell_id": "x"}}',
        b'{"schema_version": 1, "kind": ["run"]}',
        b'{"schema_version": 1, "kind": "plan", "plan": {"cell_id": ["x"]}}',
        b'{"schema_version": 1, "kind": "plan", "plan": {"cell_id": "x", "workers": "pi1"}}',
        b'{"schema_version": 1, "kind": "plan", "plan": {"cell_id": "x", "splits": [3]}}',
        b'{"schema_version": 1, "kind": "plan", "plan": {"cell_id": "x", "repeats": "five"}}',
        b'{"schema_version": 1, "kind": "plan", "plan": {"cell_id": "x", "provenance": [1]}}',
    ],
    ids=range(14),
)
def test_what_is_no_record_is_a_damaged_line(tmp_path: Path, line: bytes) -> None:
    write(tmp_path, [*some_cell(), line])
    records = read(tmp_path)
    assert records.files[0].damaged == (6,)
    assert len(records.runs) == 4


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["attempt"], "1"),
        (["attempt"], True),
        (["run_key"], 7),
        (["status"], None),
        (["cell_id"], "x" * (NAME + 1)),
        (["block_pass"], -1),
        (["factors"], []),
        (["factors", "cuts"], "3"),
        (["factors", "cuts"], [3.5]),
        (["factors", "cuts"], [-3]),
        (["factors", "cuts"], [10**30]),
        (["factors", "cuts"], [3] * 1000),
        (["factors", "codec"], "int9"),
        (["factors", "codec"], ["int8"]),
        (["factors", "model"], ["mobilenetv2"]),
        (["factors", "hosts"], "pi1"),
        (["factors", "scenario"], {"measured": 3}),
        (["factors", "netem"], "wan"),
        (["factors", "batch_size"], "8"),
        (["network"], {"asked": ["wan"]}),
    ],
    ids=str,
)
def test_a_run_that_cannot_be_told_from_others_is_a_damaged_line(
    tmp_path: Path, path: list[str], value: object
) -> None:
    lines = some_cell()
    write(tmp_path, [*lines[:-1], changed(lines[-1], path, value)])
    records = read(tmp_path)
    assert records.files[0].damaged == (5,)
    assert len(everything(records)[1]) == 3


@pytest.mark.parametrize("repeat", ["1", 1.5, None, 0, -1, 10**12, [1]])
def test_a_repeat_that_is_no_number_of_a_block_is_left_out(tmp_path: Path, repeat: object) -> None:
    lines = some_cell()
    write(tmp_path, [*lines[:-1], changed(lines[-1], ["factors", "repeat"], repeat)])
    cells, excluded = everything(read(tmp_path))
    assert re.match(r"incomplete:its repeat is .+, expected 1 or more", excluded[-1])
    assert sum(split.runs for split in cells[0].splits) == 3


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["stages"], 7),
        (["stages"], [{}] * 1000),
        (["stages"], ["pi1"]),
        (["stages", 0, "compute_s", "latency"], [1.0, "2"]),
        (["stages", 0, "block_names"], 5),
        (["hops"], {"from": "pi1"}),
        (["latency"], [1.0]),
        (["throughput"], "fast"),
        (["network"], [0.2]),
        (["hosts"], ["pi1"]),
    ],
    ids=str,
)
def test_a_measurement_of_the_wrong_form_is_left_out_with_its_reason(
    tmp_path: Path, path: list[Any], value: object
) -> None:
    lines = some_cell()
    write(tmp_path, [*lines[:-1], changed(lines[-1], path, value)])
    records = read(tmp_path)
    assert records.files[0].damaged == ()
    assert everything(records)[1][-1].startswith("incomplete:")


def test_a_negative_time_of_a_stage_is_not_shown(tmp_path: Path) -> None:
    lines = some_cell()
    for line in lines[1:]:
        line["stages"][0]["compute_s"]["latency"] = [-1.0]
    write(tmp_path, lines)
    cells, _ = everything(read(tmp_path))
    assert cells[0].splits[0].stages[0]["compute_s"] is None
    assert cells[0].splits[0].stages[1]["compute_s"] is not None


def test_long_texts_are_cut_and_control_characters_replaced(tmp_path: Path) -> None:
    lines = some_cell()
    lines[1] = {**lines[1], "status": "failed:" + "x" * 10**5, "message": "m" * 10**6}
    lines[2] = {**lines[2], "status": "failed:E", "message": "bell \a, back \u202e, end"}
    write(tmp_path, lines)
    frame = tidy(read(tmp_path).runs)
    assert frame["message"].str.len().max() == MESSAGE
    assert frame["excluded"].str.len().max() == NAME
    assert frame["message"][0].endswith("m…")
    assert frame["message"][1] == "bell �, back �, end"


def test_a_line_of_ten_megabytes_is_read_and_one_beyond_the_limit_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = some_cell()
    lines[1]["padding"] = "x" * 10 * 2**20
    write(tmp_path, lines)
    assert len(read(tmp_path).runs) == 4
    monkeypatch.setattr(reading, "LONGEST", 2**20)
    records = read(tmp_path)
    assert (records.files[0].damaged, len(records.runs)) == ((2,), 3)


def test_the_second_of_two_equal_keys_cannot_slip_past_the_checksum(tmp_path: Path) -> None:
    lines = some_cell()
    lines[1]["status"] = "failed:E_PEER_LOST"
    doubled = canonical(lines[1])[:-1] + b',"status":"ok"}'
    write(tmp_path, [lines[0], doubled, *lines[2:]])
    assert read(tmp_path).files[0].damaged == (2,)


def test_old_records_and_new_ones_go_together(tmp_path: Path) -> None:
    old = some_cell()
    new = [
        *synthetic.cell(
            random.Random(2), scenario="wan", splits=[[3], [17]], end_points=True, sentinels=True
        )
    ]
    for line in old[1:]:
        del line["hosts"], line["network"], line["factors"]["hosts"], line["factors"]["netem"]
    write(tmp_path, old, "old.jsonl")
    write(tmp_path, new, "new.jsonl")
    cells, _ = everything(read(tmp_path))
    assert [len(cell.end_points) for cell in cells] == [0, 2]
    assert [split.runs for cell in cells for split in cell.splits] == [2, 2, 5, 5]


def test_a_file_of_a_newer_version_is_refused_in_one_line(tmp_path: Path) -> None:
    write(tmp_path, [*some_cell(), b'{"schema_version": 99, "kind": "run"}'])
    with pytest.raises(
        ReportError, match=r"^E_SCHEMA: .+ line 6 has schema_version 99, .+"
    ) as told:
        read(tmp_path)
    assert "\n" not in str(told.value)


def test_splits_that_no_machine_could_list_are_not_listed(tmp_path: Path) -> None:
    hosts = [f"pi{number}" for number in range(1, 16)]
    line = next(synthetic.cell(random.Random(1), workers=hosts))
    write(tmp_path, [line])
    assert everything(read(tmp_path))[0][0].planned == ()


# Any value in any place


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path to every value of a record."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value[:2] if isinstance(value, list) else ())
    )
    return [
        *([path] if path else []),
        *(way for key, item in inner for way in places(item, (*path, key))),
    ]


SAMPLES = {
    "plan": some_cell()[0],
    "run": [*synthetic.cell(random.Random(1), splits=[[3]], repeats=1, allocators=["tuned"] * 2)][
        1
    ],
    "end point": next(
        line
        for line in synthetic.cell(random.Random(1), splits=[[3]], repeats=1, end_points=True)
        if line.get("factors", {}).get("role")
    ),
    "sentinel": [*synthetic.cell(random.Random(1), splits=[[3]], repeats=1, sentinels=True)][1],
    "profile": [*samples.profile(random.Random(1), repeats=1)][1],
    "link": [*samples.link(random.Random(1), repeats=1)][1],
}
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**30, -(10**30), LARGEST, 1e308, 5e-324, float("nan"), float("inf")]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([SCRIPT, "x" * 10**5, "\x00", "../../../etc/passwd", "=1+1", "$x$", "{{ 1 }}"]),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=8,
    ),
)


@pytest.mark.parametrize("kind", SAMPLES)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_value_in_any_place_is_damaged_left_out_or_harmless(
    kind: str, tmp_path: Path, data: st.DataObject
) -> None:
    line = SAMPLES[kind]
    for _ in range(data.draw(st.integers(1, 2))):
        way = data.draw(st.sampled_from(places(line)))
        line = changed(line, way, data.draw(VALUES))
    write(tmp_path, [*some_cell(), line])
    with contextlib.suppress(ReportError):  # the value may make it a newer version's record
        everything(read(tmp_path))


# The page


@pytest.fixture(scope="module")
def hostile_pages(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    """Return a report's pages with attacks for names."""
    folder = tmp_path_factory.mktemp("hostile")
    end = "</script><script>alert(3)</script>"
    names = {"model": SCRIPT, "scenario": SCRIPT + end, "split": f"P3{SCRIPT}"}
    lines = [*synthetic.cell(random.Random(1), splits=[[3], [17]], end_points=True, sentinels=True)]
    plan = lines[0]["plan"]
    plan |= {"model": SCRIPT, "cell_id": f"../../{SCRIPT}"}
    plan["scenario"]["name"] = names["scenario"]
    plan["provenance"] |= {"commit": SCRIPT, "options": {SCRIPT: SCRIPT}}
    for line in lines[1:]:
        mine = names if line["factors"]["cuts"] == [3] else {**names, "split": "P17"}
        line["factors"] |= mine | {"hosts": [SCRIPT, "pi2"][: len(line["stages"])]}
        line |= {"cell_id": f"../../{SCRIPT}", "hosts": {SCRIPT: {"cpu_model": end}}}
        line["stages"][0]["host"] = SCRIPT
        line["stages"][0]["block_names"] = [end]
    lines[3] |= {"status": f"failed:{SCRIPT}", "message": end}
    write(folder, lines, "hostile.jsonl")
    out = tmp_path_factory.mktemp("out") / "report"
    assert main([str(folder), "--out", str(out)]) == 0
    assert [path.name for path in out.parent.iterdir()] == ["report"]
    return {path: path.read_text(encoding="utf-8") for path in out.rglob("*.html")}


def test_a_name_is_never_a_tag(hostile_pages: dict[Path, str]) -> None:
    assert hostile_pages
    for text in hostile_pages.values():
        page = Page(text)
        assert not [attrs for tag, attrs in page.tags if tag == "img" or "onerror" in dict(attrs)]
        scripts = re.findall(r"<script\b[^>]*>(.*?)</script>", text, flags=re.S)
        assert not [body for body in scripts if body.startswith("alert")]
        assert "<img" not in text


def test_a_name_is_never_a_path(hostile_pages: dict[Path, str]) -> None:
    for path in hostile_pages:
        assert re.fullmatch(r"[A-Za-z0-9_.-]+\.html", path.name)
