"""The lock of a host: held by one, freed by the kernel, and words for everyone else."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from paretopipe_runtime import job
from paretopipe_runtime.errors import ParetoPipeError


def held_by_a_child(folder: Path) -> int:
    """Let a child hold it until it is killed."""
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        with job.hold(folder, "paretopipe sweep a cell"):
            os.write(tell, b"1")
            signal.pause()
    os.read(ready, 1)
    return pid


def test_the_second_is_told_who_holds_it(tmp_path: Path) -> None:
    pid = held_by_a_child(tmp_path)
    try:
        with (
            pytest.raises(ParetoPipeError, match=r"E_BUSY.*a cell.*reset\.yml") as told,
            job.hold(tmp_path, "another"),
        ):
            raise AssertionError
        assert f"process {pid} of" in told.value.message
        assert " since 20" in told.value.message
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with job.hold(tmp_path, "the next"):
        pass


def test_a_file_that_says_nothing_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / job.NAME).write_text("not JSON")
    with job.hold(tmp_path, "one"):
        pass
    pid = held_by_a_child(tmp_path)
    try:
        (tmp_path / job.NAME).write_text("not JSON")
        with pytest.raises(ParetoPipeError, match=r"E_BUSY.*fuser"), job.hold(tmp_path, "two"):
            raise AssertionError
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ParetoPipeError, match="E_DISK"), job.hold(tmp_path / "file" / "x", "one"):
        raise AssertionError
