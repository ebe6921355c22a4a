"""Records are collected without losing or duplicating a line."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def collect(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("roles/sweep/action_plugins/collect_records.py")


def test_a_file_that_has_all_of_ours_replaces_it(collect: ModuleType) -> None:
    assert collect.joined(b"a\nb\n", b"p\na\nb\nc\n") == b"p\na\nb\nc\n"


def test_a_file_that_lacks_some_of_ours_is_joined(collect: ModuleType) -> None:
    assert collect.joined(b"a\nb\n", b"b\nc\n") == b"a\nb\nc\n"
    assert collect.joined(b"a\n", b"") == b"a\n"


def test_a_torn_last_line_stays_where_it_is(collect: ModuleType) -> None:
    assert collect.joined(b"a\n", b"a\nb\nhalf") == b"a\nb\n"


def test_no_line_is_ever_lost(collect: ModuleType) -> None:
    content = st.lists(st.binary(max_size=3)).map(lambda lines: b"".join(x + b"\n" for x in lines))

    @given(ours=content, theirs=content)
    def check(ours: bytes, theirs: bytes) -> None:
        lines = set(collect.whole_lines(collect.joined(ours, theirs)))
        assert lines == set(collect.whole_lines(ours)) | set(collect.whole_lines(theirs))

    check()


def run(line: str) -> dict[str, Any]:
    """Run a shell line as Ansible's local connection does."""
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True)
    return {"rc": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def test_what_comes_over_is_the_file_to_the_last_byte(collect: ModuleType, tmp_path: Path) -> None:
    content = bytes(range(256)) * 400
    source = tmp_path / "it's a cell.jsonl"
    assert collect.fetched(run, str(source)) is None
    source.write_bytes(content)
    assert collect.fetched(run, str(source)) == content
    source.write_bytes(b"")
    assert collect.fetched(run, str(source)) == b""


def test_what_cannot_be_read_is_one_sentence(collect: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(AnsibleActionFail, match=f"could not read {tmp_path}: .*s a directory"):
        collect.fetched(run, str(tmp_path))


def test_the_file_is_replaced_whole(collect: ModuleType, tmp_path: Path) -> None:
    target = tmp_path / "new" / "cell.jsonl"
    collect.replace(target, b"1\n")
    collect.replace(target, b"2\n")
    assert target.read_bytes() == b"2\n"
    assert [path.name for path in target.parent.iterdir()] == ["cell.jsonl"]
