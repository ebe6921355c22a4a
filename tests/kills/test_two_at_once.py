"""Two sweeps at once: one goes on, the other is told who is in the way, and soon."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

from tests.effort import trials
from tests.kills import trial
from tests.kills.trial import Bench

PAIRS = trials(5, 50)
SOON_S = 2.0


def pair(bench: Bench, folder: Path) -> float:
    """Start two controllers together; return how long the one that may not measure took."""
    folders = [folder / "one", folder / "two"]
    for here in folders:
        here.mkdir(parents=True)
    began = time.monotonic()
    gates = [{"folder": str(here), "phase": "records_opened", "run": 1} for here in folders]
    pids = [bench.control(here, gate=gate) for here, gate in zip(folders, gates, strict=True)]
    loser, status = _first_to_end(bench, pids)
    took = time.monotonic() - began
    winner = 1 - loser
    assert status == 75
    assert took < SOON_S
    assert not (folders[loser] / "orchestrator.jsonl").exists()
    said = (folders[loser] / "log").read_text()
    holder = (folders[winner] / "sweep.pid").read_text()
    assert re.fullmatch(
        r"E_BUSY: this host is measuring already: `paretopipe sweep \S+`, process "
        rf"{holder} of \S+ on \S+ since \d{{4}}-\S+Z holds \S+ — .*reset\.yml.*\n",
        said,
    ), said
    (folders[winner] / "go").touch()
    assert bench.zygote.status(pids[winner]) == 0
    bench.settle()
    trial.assert_complete((folders[winner] / "home.jsonl").read_bytes(), bench.keys)
    return took


def _first_to_end(bench: Bench, pids: list[int]) -> tuple[int, int]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for index, pid in enumerate(pids):
            if (status := bench.zygote.ended(pid)) is not None:
                return index, status
        time.sleep(0.005)
    raise AssertionError("both went on")


def test_exactly_one_proceeds(bench: Bench, tmp_path: Path) -> None:
    slowest = max(pair(bench, tmp_path / str(number)) for number in range(PAIRS))
    print(f"{PAIRS} pairs, the slowest refusal after {slowest:.2f} s")


def test_two_runs_never_share_a_node(bench: Bench, tmp_path: Path) -> None:
    """Two orchestrators that know nothing of each other: the second is told, and nothing mixes."""
    first = bench.control(tmp_path, gate={"folder": str(tmp_path), "phase": "warm_up", "run": 1})
    trial.reach(tmp_path, "warm_up")
    other = tmp_path / "other"
    shutil.copytree(bench.cluster.state_dir, other / "state")
    records = other / "cell.jsonl"
    second = bench.zygote.fork(
        "measure",
        command=[
            *trial.command(bench.cluster, "sweep"),
            *("--state-dir", str(other / "state"), "--records", str(records)),
        ],
        records=str(records),
        log=str(other / "log"),
    )
    assert bench.zygote.status(second) == 1
    rows = list(map(json.loads, records.read_text().splitlines()))
    assert {row["status"] for row in rows if row["kind"] == "run"} == {"failed:E_BUSY"}
    assert "in the middle of another run" in (other / "log").read_text()
    (tmp_path / "go").touch()
    assert bench.zygote.status(first) == 0
    bench.settle()
    trial.assert_complete((tmp_path / "home.jsonl").read_bytes(), bench.keys)
