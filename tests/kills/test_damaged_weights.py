"""Weights with a flipped bit, a NaN or another block's content: every launch is refused, typed."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
    for number in range(trials(2, EACH)):
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
