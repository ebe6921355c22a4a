"""The main job through Ansible: measured, reported, repeated for nothing, killed and resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.testbed

ROOT = Path(__file__).resolve().parents[2]
SWEEP = "pytest-full"
RESULTS = ROOT / "experiments/results" / SWEEP
REPORT = ROOT / f"reports/html/{SWEEP}.html"
SMALL = f"experiment=demo image=32 sweep={SWEEP} splits=3,17 repeats=2"
ONE_CELL = "scenarios=metro pairings=pi_to_pi"
CELL = "mobilenetv2.socket.pi_to_pi.metro"
MORE = f"experiment=demo image=32 sweep={SWEEP} splits=3,17 repeats=30 {ONE_CELL}"
On = Callable[[str, str], str]
Run = Callable[..., Any]


@pytest.fixture(scope="module", autouse=True)
def _clean(testbed: On) -> Iterator[None]:
    def remove() -> None:
        shutil.rmtree(RESULTS, ignore_errors=True)
        for path in REPORT.parent.glob(f"{SWEEP}.*"):
            path.unlink()

    remove()
    testbed("server", f"rm -rf /var/lib/paretopipe/sweeps/{SWEEP}")
    yield
    remove()


def rows() -> dict[str, list[dict[str, Any]]]:
    """Every run's record, by cell."""
    return {
        path.stem: [
            row for row in map(json.loads, path.read_text().splitlines()) if row["kind"] == "run"
        ]
        for path in sorted(RESULTS.glob("*.jsonl"))
    }


def test_one_command_measures_every_cell_and_writes_the_report(playbook: Run) -> None:
    done = playbook("full_sweep", "-e", SMALL)
    assert done.status == 0, done.output
    cells = rows()
    assert list(cells) == [
        f"mobilenetv2.socket.{pairing}.{scenario}"
        for pairing in ("pi_to_gpu", "pi_to_pi")
        for scenario in ("baseline", "metro")
    ]
    for cell, runs in cells.items():
        assert [row["status"] for row in runs] == ["ok"] * 4, cell
        assert all(row["proof"]["max_rel_err"] <= 1e-5 for row in runs)
        second = "pi2" if "pi_to_pi" in cell else "server"
        assert {row["stages"][1]["host"] for row in runs} == {second}
        measured = runs[0]["network"]["measured"]
        if cell.endswith("metro"):
            assert measured["rtt_ms"] == pytest.approx(20, abs=2)
            assert measured["rate_mbit"] == pytest.approx(50, rel=0.1)
            # What netem delays cannot arrive sooner.
            assert min(min(row["network_s"]["latency"]) for row in runs) > 0.0195
        else:
            assert measured["rtt_ms"] < 5
    assert "Where to split MobileNetV2" in REPORT.read_text()
    assert f"reports/html/{SWEEP}.html" in done.output


def test_the_same_command_again_measures_nothing(playbook: Run) -> None:
    before = {path: path.read_bytes() for path in RESULTS.glob("*.jsonl")}
    done = playbook("full_sweep", "-e", f"{SMALL} {ONE_CELL}")
    assert done.status == 0, done.output
    assert {path: path.read_bytes() for path in RESULTS.glob("*.jsonl")} == before


def test_a_killed_controller_costs_one_run_at_most(testbed: On, playbook: Run) -> None:
    earlier = {path: path.read_bytes() for path in RESULTS.glob("*.jsonl")}
    binary = Path(sys.executable).with_name("ansible-playbook")
    controller = subprocess.Popen(
        [str(binary), "playbooks/full_sweep.yml", "-e", MORE],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    on_node = "/var/lib/paretopipe/sweeps/" + SWEEP
    deadline = time.monotonic() + 240
    while int(testbed("server", f"grep -c kind.:.run {on_node}/{CELL}.jsonl; true")) < 4 + 8:
        assert controller.poll() is None
        assert time.monotonic() < deadline
        time.sleep(1)
    os.killpg(controller.pid, signal.SIGKILL)
    controller.wait(timeout=30)
    on_disk = testbed("server", f"cat {on_node}/*.jsonl").splitlines()

    done = playbook("full_sweep", "-e", MORE, timeout_s=580)
    assert done.status == 0, done.output
    assert "netem" not in testbed("wan", "tc qdisc show dev up0")
    lines = {line for path in RESULTS.glob("*.jsonl") for line in path.read_text().splitlines()}
    assert set(on_disk) <= lines, "a record was lost"
    for path, content in earlier.items():
        assert path.read_bytes().startswith(content), "an earlier record changed"
    counts = Counter(row["run_key"] for row in rows()[CELL] if row["status"] == "ok")
    assert len(counts) == 60
    assert set(counts.values()) == {1}, "a run was measured twice"
