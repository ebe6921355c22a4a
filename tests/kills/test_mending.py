"""What a power cut or a bad disk left of the prepared files is made again by the next `prepare`."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from pathlib import Path

import pytest

from paretopipe_runtime import forked
from tests.kills import trial
from tests.kills.trial import Bench


def prepare(bench: Bench, folder: Path) -> tuple[int, str]:
    """Run `paretopipe prepare`; return its exit status and what it said."""
    log = folder / "log"
    log.unlink(missing_ok=True)
    command = trial.command(bench.cluster, "prepare")
    status = bench.zygote.status(bench.zygote.fork("prepare", command=command, log=str(log)))
    bench.settle()
    return status, log.read_text()


def sound(path: Path) -> bool:
    return hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


def folder_of(bench: Bench) -> Path:
    """Where what was prepared for the bench's plan is; other tests prepare other plans."""
    for facts in (bench.cluster.state_dir / "prepared").glob("*/facts.json"):
        shape, _, _ = json.loads(facts.read_text())["boundaries"][0]
        if shape[-1] == bench.plan["image_px"]:
            return facts.parent
    raise AssertionError("nothing is prepared")


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


@pytest.mark.parametrize("name", ["facts.json", "reference.npy"])
@pytest.mark.parametrize("left", [0, 20])
def test_half_written_facts_are_made_again(
    bench: Bench, tmp_path: Path, name: str, left: int
) -> None:
    path = folder_of(bench) / name
    before = path.read_bytes()
    os.truncate(path, left)
    status, said = prepare(bench, tmp_path)
    assert status == 0, said
    assert path.read_bytes() == before


def test_a_damaged_copy_on_a_worker_is_sent_anew(bench: Bench, tmp_path: Path) -> None:
    path = next((bench.cluster.folder / "pi2" / "weights").glob("*.safetensors"))
    flip(path)
    assert not sound(path)
    status, said = prepare(bench, tmp_path)
    assert status == 0, said
    assert sound(path)


def test_a_damaged_original_goes_and_is_made_anew(bench: Bench, tmp_path: Path) -> None:
    original = next((bench.cluster.state_dir / "weights").glob("*.safetensors"))
    flip(original)
    (bench.cluster.folder / "pi1" / "weights" / original.name).unlink()
    status, said = prepare(bench, tmp_path)
    assert status == 2
    assert said.startswith("E_WEIGHTS: ")
    assert "give the same command again" in said
    status, said = prepare(bench, tmp_path)
    assert status == 0, said
    assert sound(original)


def test_what_is_forked_dies_with_its_parent(tmp_path: Path) -> None:
    told = tmp_path / "pid"

    def child() -> None:
        told.write_text(str(os.getpid()))
        time.sleep(60)

    parent = os.fork()
    if parent == 0:
        try:
            forked.call(child)
        finally:
            os._exit(1)
    trial.wait_until(lambda: told.exists() and told.read_text(), 10, "no child")
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    gone = Path("/proc") / told.read_text() / "cmdline"  # empty or absent once it is dead
    trial.wait_until(lambda: not (gone.exists() and gone.read_bytes()), 5, "it goes on")
