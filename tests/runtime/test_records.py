"""The records file loses nothing and counts nothing twice, whatever happened to it."""

from __future__ import annotations

import json
import os
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.cli import main
from paretopipe_runtime.contract.lines import canonical
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.records import Records
from tests.made.plans import row as run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cell.jsonl"


def test_appending_and_opening_again(path: Path) -> None:
    records = Records(path)
    records.append_plan({"model": "vgg16"})
    records.append(run("a"))
    records.append(run("b", "failed:E_STALL"))
    records.append(run("b", "ok", 2))
    again = Records(path)
    assert set(again.done) == {"a", "b"}
    assert again.attempts == {"a": 1, "b": 2}
    before = path.read_bytes()
    again.append_plan({"model": "vgg16"})
    assert path.read_bytes() == before, "the same plan is not written twice"
    again.append_plan({"model": "vgg16", "repeats": 6})
    assert path.read_bytes().startswith(before)


def test_a_withdrawn_run_stays_and_does_not_count(path: Path, capsys: Any) -> None:
    def timed(key: str, second: int, attempt: int = 1) -> dict[str, Any]:
        began = f"2026-01-01T00:00:{second:02d}Z"
        return {**run(key, attempt=attempt), "cell_id": "c", "started_at": began, "wall_s": 5.0}

    records = Records(path)
    for line in (timed("a", 0), timed("b", 10), timed("c", 20), run("d", "failed:E_STALL")):
        records.append(line)
    before = path.read_bytes()
    since = datetime(2026, 1, 1, 0, 0, 16, tzinfo=UTC).timestamp()
    words = ["withdraw", str(path), "--since", str(since), "--reason", "shaping_lost"]
    assert main(words) == 0
    assert "2 runs withdrawn, shaping_lost" in capsys.readouterr().out
    assert path.read_bytes().startswith(before)
    again = Records(path)
    assert set(again.done) == {"a"}
    assert [line["status"] for line in again.runs] == [
        *("ok", "invalid:shaping_lost", "invalid:shaping_lost", "failed:E_STALL")
    ]
    assert again.withdraw(since, "shaping_lost") == 0
    again.append(timed("b", 30, attempt=again.attempts["b"] + 1))
    assert set(Records(path).done) == {"a", "b"}
    assert Records(path).done["b"]["attempt"] == 2


def test_the_latest_noise_holds_and_what_was_not_measured_is_no_line(path: Path) -> None:
    records = Records(path)
    records.append_noise("c", {})
    assert (records.noise, path.read_bytes()) == ({}, b"")
    for scatter in (0.01, 0.02, 0.02):
        records.append_noise("c", {"hosts": {"pi1": {"scatter": scatter}}})
    assert len(path.read_bytes().splitlines()) == 2
    assert Records(path).noise["hosts"] == {"pi1": {"scatter": 0.02}}


@pytest.mark.parametrize("kept", [1, 17, -1])
def test_a_torn_tail_is_set_aside(path: Path, kept: int) -> None:
    records = Records(path)
    records.append(run("a"))
    whole = path.read_bytes()
    records.append(run("b"))
    tail = path.read_bytes()[len(whole) :]
    path.write_bytes(whole + tail[:kept])
    again = Records(path)
    assert set(again.done) == {"a"}
    assert path.read_bytes() == whole
    assert path.with_name("cell.jsonl.torn").read_bytes() == tail[:kept] + b"\n"


def test_a_damaged_line_does_not_count_and_stays(path: Path) -> None:
    records = Records(path)
    records.append(run("a"))
    path.write_bytes(path.read_bytes().replace(b'"ok"', b'"OK"'))
    before = path.read_bytes()
    assert Records(path).done == {}
    assert path.read_bytes() == before


def test_merging_is_idempotent_and_keeps_both(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "controller.jsonl"
    Records(other).append(run("a"))
    mine = Records(path)
    mine.append(run("b"))
    assert mine.merge(other) == 1
    assert mine.merge(other) == 0
    assert set(mine.done) == {"a", "b"}
    assert set(Records(path).done) == {"a", "b"}
    assert mine.merge(tmp_path / "missing.jsonl") == 0


def test_a_newer_schema_is_refused(path: Path) -> None:
    Records(path).append(run("a"))
    line = json.loads(path.read_text())
    line["schema_version"] = 99
    del line["crc32"]
    line["crc32"] = f"{zlib.crc32(canonical(line)):08x}"
    path.write_bytes(canonical(line) + b"\n")
    with pytest.raises(ParetoPipeError, match=r"E_SCHEMA.*newer"):
        Records(path)


def test_short_writes_still_make_whole_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:7])))
    Records(path).append(run("a"))
    monkeypatch.undo()
    assert set(Records(path).done) == {"a"}


def test_a_full_disk_is_a_sentence_and_leaves_whole_lines(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = Records(path)
    records.append(run("a"))
    before = path.read_bytes()
    write = os.write
    calls = iter(range(100))

    def full(descriptor: int, data: bytes) -> int:
        if next(calls):
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:5])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(ParetoPipeError, match=r"E_DISK.*No space left.*every earlier record"):
        records.append(run("b"))
    monkeypatch.undo()
    assert path.read_bytes() == before


def test_a_record_is_on_the_disk_before_it_is_said_to_be_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = Records(path)
    synced: list[tuple[int, int]] = []

    def note(descriptor: int) -> None:
        seen = os.fstat(descriptor)
        synced.append((seen.st_ino, seen.st_size))

    monkeypatch.setattr(os, "fsync", note)
    records.append(run("a"))
    assert synced == [(path.stat().st_ino, path.stat().st_size)]
