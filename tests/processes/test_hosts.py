"""Provisioned, measured on, shaped and taken away like real hosts, without root, systemd or SSH."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime import job
from tests.effort import THOROUGH
from tests.processes.conftest import HOSTS, Processes, kill, until

SWEEP = "pytest-processes"
SMALL = (
    f"experiment=demo image=32 sweep={SWEEP} splits=10,17 repeats=1 end_points=false "
    "sentinel=false profile=false noise=1"
)
LEASE_S = 18
ENDLESS = (
    f"experiment=demo first_report=0 image=32 sweep={SWEEP}-killed splits=10,17 repeats=400 "
    "end_points=false sentinel=false profile=false scenarios=metro pairings=pi_to_pi "
    f"netem_lease={LEASE_S}s noise=0"
)


def rows(folder: Path, kind: str = "run") -> list[dict[str, Any]]:
    """Every record of one kind, torn last lines left out."""
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_text().split("\n")[:-1]]
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def test_provision_twice_changes_nothing(processes: Processes) -> None:
    again = processes.play("provision")
    assert again.status == 0, again.output
    assert again.changed == 0, again.output
    assert processes.listening() == set(HOSTS)
    assert stat.S_IMODE((processes.folder / "key").stat().st_mode) == 0o400
    assert stat.S_IMODE(processes.folder.stat().st_mode) == 0o700


def test_netem_measures_what_was_asked_and_reset_takes_it_back(processes: Processes) -> None:
    asked = ["-e", "delay=200ms rate=5mbit"]
    done = processes.play("netem", *asked)
    assert done.status == 0, done.output
    for peer in ("pi2", "server"):
        row = re.search(rf"{peer} +200ms +([0-9.]+) ms +5mbit +([0-9.]+) Mbit/s", done.output)
        assert row is not None, done.output
        assert float(row[1]) == pytest.approx(200, rel=0.1)
        assert float(row[2]) == pytest.approx(5, rel=0.1)
    assert "the way from pi1 stays shaped until" in done.output
    reset = processes.play("reset")
    assert (reset.status, reset.changed) == (0, 1), reset.output
    assert not processes.unit("relay").running()


@pytest.mark.thorough  # the sentence is test_netem.py's
def test_a_network_that_a_relay_cannot_make_is_refused(processes: Processes) -> None:
    done = processes.play("netem", "-e", "delay=20ms loss=1%")
    assert done.status != 0
    assert "loss 1% cannot be had from a relay" in done.errors[0]
    assert not processes.unit("relay").running()


def test_a_sweep_is_measured_marked_and_measured_once(
    processes: Processes, results: Callable[[str], Path]
) -> None:
    home = results(SWEEP)
    done = processes.play("measure", "-e", f"{SMALL} scenarios=metro")
    assert done.status == 0, done.output
    assert {row["plan"]["emulation"] for row in rows(home, "plan")} == {"processes"}
    noises = [row["hosts"] for row in rows(home, "noise")]
    assert {tuple(sorted(hosts)) for hosts in noises} == {("pi1", "pi2"), ("pi1", "server")}
    assert len({hosts["pi1"]["scatter"] for hosts in noises}) == 1
    assert not processes.unit("relay").running()

    kept = {path.name: path.read_bytes() for path in home.glob("*.jsonl")}
    more = processes.play("measure", "-e", f"{SMALL} scenarios=baseline,metro pairings=pi_to_pi")
    assert more.status == 0, more.output
    assert {name: (home / name).read_bytes() for name in kept} == kept
    assert {row["status"] for row in rows(home)} == {"ok"}, done.output + more.output
    cells = {(row["factors"]["pairing"], row["factors"]["scenario"]) for row in rows(home)}
    assert cells == {("pi_to_pi", "baseline"), ("pi_to_pi", "metro"), ("pi_to_gpu", "metro")}
    assert len(rows(home)) == 2 * len(cells)
    for row in rows(home):
        least = 0.0195 if row["factors"]["scenario"] == "metro" else 0
        assert min(row["network_s"]["latency"]) > least
    page = (Path("reports/html") / SWEEP / "index.html").read_text()
    assert "processes on one machine" in page.lower()


def test_a_detached_sweep_outlives_its_controller(
    processes: Processes, results: Callable[[str], Path]
) -> None:
    home = results(f"{SWEEP}-night")
    asked = SMALL.replace(f"sweep={SWEEP} ", f"sweep={home.name} ").replace(
        "repeats=1", "repeats=2"
    )
    asked += " scenarios=baseline,metro pairings=pi_to_pi detach=true"
    with job.hold(processes.folder / "server", "paretopipe night another"):
        other = processes.play("measure", "-e", asked)
    assert other.status != 0
    assert "a detached sweep is running here" in other.errors[0]
    assert "playbooks/reset.yml stops it" in other.errors[0]

    started = processes.play("measure", "-e", asked)
    assert started.status == 0, started.output
    assert "goes on without this controller" in started.output
    assert rows(home) == []
    until(lambda: not processes.unit("sweep").running())
    assert not processes.unit("relay").running()
    over = processes.play("status")
    assert over.status == 0, over.output
    assert "4 of 4 cells and profiles done, it is over" in " ".join(over.output.split())
    assert {row["status"] for row in rows(home)} == {"ok"}
    shaped = [row for row in rows(home) if row["factors"]["scenario"] == "metro"]
    assert len(shaped) == 2 * 2
    for row in shaped:
        assert min(row["network_s"]["latency"]) > 0.0195
        assert row["network"]["measured"]["rtt_ms"] > 19.5
    assert (Path("reports/html") / home.name / "index.html").exists()


@pytest.fixture(scope="module")
def started(
    processes: Processes, results: Callable[[str], Path]
) -> Iterator[tuple[Any, Path, Path]]:
    """Return a measure.yml amid its cell, where its records come home, and where from."""
    home = results(f"{SWEEP}-killed")
    away = processes.folder / "server/sweeps" / home.name
    process = processes.starts("measure", "-e", ENDLESS)
    try:
        until(lambda: process.poll() is not None or len(rows(away)) >= 3)
        assert process.poll() is None, process.communicate()[0]
        yield process, home, away
    finally:
        kill(process)


def test_a_second_controller_is_told(processes: Processes, started: Any) -> None:
    other = processes.play("full_sweep", "-e", f"{SMALL} preflight=false")
    assert other.status != 0
    assert "another controller is measuring on these hosts" in other.errors[0]
    assert started[0].poll() is None
    assert processes.unit("sweep").running()


def test_a_killed_controller_leaves_nothing_running_and_what_was_measured_counts(
    processes: Processes, started: Any
) -> None:
    process, home, away = started
    assert not rows(home), "records come home only at the end"
    kill(process)
    until(lambda: not processes.unit("relay").running(), timeout_s=3 * LEASE_S)
    until(lambda: not processes.unit("sweep").running(), timeout_s=3 * LEASE_S)
    assert processes.listening() == set(HOSTS), "the agents wait for the next"
    before = rows(away)
    assert {row["status"] for row in before} <= {"ok", "invalid:network_unheld"}

    repeats = max(row["factors"]["repeat"] for row in before) + 1
    again = processes.play("measure", "-e", f"{ENDLESS} repeats={repeats}")
    assert again.status == 0, again.output
    after = rows(home)
    assert [row for row in after if row in before] == before, "nothing is lost"
    valid = [row["run_key"] for row in after if row["status"] == "ok"]
    assert len(valid) == len(set(valid)) == 2 * repeats, "and nothing measured twice"


def test_deprovision_leaves_nothing(processes: Processes) -> None:
    stopped = processes.play("deprovision", "-e", "processes_state=stopped")
    assert stopped.status == 0, stopped.output
    assert not processes.listening()
    assert (processes.folder / "venv").is_dir()
    gone = processes.play("deprovision")
    assert gone.status == 0, gone.output
    assert not processes.folder.exists()
    if THOROUGH:
        fresh = processes.play("provision", "--check")
        assert fresh.status == 0, fresh.output
        assert fresh.changed > 0
        assert not processes.folder.exists()
