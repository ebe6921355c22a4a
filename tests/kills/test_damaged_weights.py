"""Damaged weights are refused at every launch, typed; damaged prepared files are made again."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime import forked
from tests.effort import trials
from tests.kills import trial
from tests.kills.trial import Bench

SEED, EACH = 20261124, 9
CUT = 10
NAN = struct.pack("<f", float("nan"))


def data_start(content: bytes) -> int:
    """Where the tensors begin in a safetensors file."""
    return 8 + int.from_bytes(content[:8], "little")


def flip(content: bytes, chance: random.Random, _other: bytes) -> bytes:
    place = chance.randrange(len(content))
    bit = content[place] ^ 1 << chance.randrange(8)
    return content[:place] + bytes([bit]) + content[place + 1 :]


def nan(content: bytes, chance: random.Random, _other: bytes) -> bytes:
    start = data_start(content)
    place = start + 4 * chance.randrange((len(content) - start) // 4)
    return content[:place] + NAN + content[place + 4 :]


def stale(_content: bytes, _chance: random.Random, other: bytes) -> bytes:
    return other


DAMAGES = {"flip": flip, "nan": nan, "stale": stale}


def damage(
    bench: Bench, folder: Path, how: Callable[..., bytes], chance: random.Random
) -> list[dict[str, Any]]:
    """Damage one block's file on the node that needs it; return what a sweep's runs became."""
    facts = next((bench.cluster.state_dir / "prepared").glob("*/facts.json"))
    blocks = json.loads(facts.read_text())["manifest"]["blocks"]
    index = chance.choice([k for k, block in enumerate(blocks) if block["parameters"]])
    node = "pi1" if index < CUT else "pi2"
    store = bench.cluster.folder / node / "weights"
    path = store / f"{blocks[index]['sha256']}.safetensors"
    other = store / f"{blocks[index - 1]['sha256']}.safetensors"
    sound, times = path.read_bytes(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_bytes(how(sound, chance, other.read_bytes()))
    os.utime(path, ns=times)
    try:
        return one_split(bench, folder)
    finally:
        path.write_bytes(sound)


def one_split(bench: Bench, folder: Path, state_dir: Path | None = None) -> list[dict[str, Any]]:
    """Sweep a single split; return its runs' records."""
    plan, records = folder / "plan.json", folder / "cell.jsonl"
    plan.write_text(json.dumps({**bench.plan, "splits": [[CUT]]}))
    command = trial.command(bench.cluster, "sweep", plan)
    if state_dir:
        command += ["--state-dir", str(state_dir)]
    pid = bench.zygote.fork(
        "measure",
        command=[*command, "--records", str(records)],
        records=str(records),
        log=str(folder / "log"),
    )
    assert bench.zygote.status(pid) == 1
    bench.settle()
    lines = map(json.loads, records.read_text().splitlines())
    return [line for line in lines if line["kind"] == "run"]


def told(bench: Bench, folder: Path, kind: str, chance: random.Random) -> None:
    """One trial of a kind of damage."""
    found = damage(bench, folder, DAMAGES[kind], chance)
    assert [row["attempt"] for row in found] == [1, 2]
    for row in found:
        assert row["status"] == "failed:E_WEIGHTS", row
        assert "expected" in row["message"]


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_always_told(real_bench: Bench, tmp_path: Path, kind: str) -> None:
    for number in range(trials(1, EACH)):
        here = tmp_path / str(number)
        here.mkdir()
        told(real_bench, here, kind, random.Random(f"{SEED}|{kind}|{number}"))


def non_finite(bench: Bench, folder: Path, chance: random.Random) -> None:
    """One trial with a NaN in a file whose sha256 is right: only the outputs can tell."""
    state = folder / "state"
    shutil.copytree(bench.cluster.state_dir, state)
    facts = next((state / "prepared").glob("*/facts.json"))
    document = json.loads(facts.read_text())
    weighty = [block for block in document["manifest"]["blocks"] if block["parameters"]]
    poison(chance.choice(weighty), state / "weights", bench, chance)
    facts.write_text(json.dumps(document))
    found = one_split(bench, folder, state)
    assert [row["status"] for row in found] == ["invalid:non_finite,output_mismatch"] * 2


def test_sound_files_with_a_nan_make_no_valid_run(real_bench: Bench, tmp_path: Path) -> None:
    for number in range(trials(1, 3)):
        here = tmp_path / str(number)
        here.mkdir()
        non_finite(real_bench, here, random.Random(f"{SEED}|honest|{number}"))


def poison(block: dict[str, Any], store: Path, bench: Bench, chance: random.Random) -> None:
    """Put a NaN into a block and make its new content an honest one, everywhere."""
    content = nan((store / f"{block['sha256']}.safetensors").read_bytes(), chance, b"")
    block["sha256"] = hashlib.sha256(content).hexdigest()
    nodes = [bench.cluster.folder / name / "weights" for name in ("pi1", "pi2")]
    for place in (store, *nodes):
        (place / f"{block['sha256']}.safetensors").write_bytes(content)


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


def flip_first(path: Path) -> None:
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
    flip_first(path)
    assert not sound(path)
    status, said = prepare(bench, tmp_path)
    assert status == 0, said
    assert sound(path)


def test_a_damaged_original_goes_and_is_made_anew(bench: Bench, tmp_path: Path) -> None:
    original = next((bench.cluster.state_dir / "weights").glob("*.safetensors"))
    flip_first(original)
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
