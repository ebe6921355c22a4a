"""Files read in parallel give the same as in sequence."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.data import records
from reports.data.records import host_facts, read
from reports.errors import ReportError
from tests.made import sweep as synthetic


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four cells with flaws, profiles and links, large enough for parallel reading."""
    monkeypatch.setattr(records, "_LARGE", 0)
    synthetic.write(tmp_path, repeats=2)
    return tmp_path


def test_two_processes_find_what_one_finds(folder: Path) -> None:
    assert records._forked(sorted(folder.glob("*.jsonl")), 2)
    alone, together = read(folder), read(folder, processes=2)
    assert alone == together
    assert host_facts(alone.runs) == host_facts(together.runs)


def test_what_two_files_repeat_is_kept_once(folder: Path) -> None:
    first = min(folder.glob("*.jsonl"))
    (folder / "copy.jsonl").write_bytes(first.read_bytes())
    assert records._forked(sorted(folder.glob("*.jsonl")), 2) is None
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
