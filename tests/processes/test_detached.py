"""A sweep that outlives its controller: started, left alone, looked at, stopped, collected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.processes.conftest import Processes, until
from tests.processes.test_hosts import SWEEP, rows

NIGHT = (
    f"experiment=demo first_report=0 image=32 sweep={SWEEP}-night splits=10,17 end_points=false "
    "sentinel=false noise=0 scenarios=baseline,metro pairings=pi_to_pi detach=true"
)


def test_a_sweep_goes_on_without_its_controller_and_is_collected(
    processes: Processes, results: Callable[[str], Path]
) -> None:
    home = results(f"{SWEEP}-night")
    none = processes.play("status")
    assert none.status != 0
    assert "no detached sweep is known here" in none.errors[0]

    started = processes.play("measure", "-e", f"{NIGHT} repeats=2 profile=true")
    assert started.status == 0, started.output
    assert "goes on without this controller" in started.output
    assert processes.unit("sweep").running()
    until(lambda: not processes.unit("sweep").running())
    over = processes.play("status")
    assert over.status == 0, over.output
    assert "it is over" in over.output
    assert {row["status"] for row in rows(home)} == {"ok"}
    assert len(rows(home)) == 2 * 2 * 2
    assert len(rows(home, "profile")) == 2 * 2
    for row in rows(home):
        least = 0.0195 if row["factors"]["scenario"] == "metro" else 0
        assert min(row["network_s"]["latency"]) > least
        assert row["network"]["measured"]["rtt_ms"] > 2 * 1000 * least - 1
    assert (Path("reports/html") / home.name / "index.html").exists()
    assert not processes.unit("relay").running()


def test_a_detached_sweep_is_left_alone_looked_at_and_stopped(
    processes: Processes, results: Callable[[str], Path]
) -> None:
    home = results(f"{SWEEP}-night")
    started = processes.play("measure", "-e", f"{NIGHT} repeats=400 profile=false")
    assert started.status == 0, started.output
    other = processes.play("measure", "-e", f"{NIGHT} repeats=400 profile=false")
    assert other.status != 0
    assert "a detached sweep is running here" in other.errors[0]
    assert "playbooks/reset.yml stops it" in other.errors[0]
    away = processes.folder / "server/sweeps" / home.name
    until(lambda: len(rows(away)) >= 2)
    seen = processes.play("status")
    assert seen.status == 0, seen.output
    assert "0 of 2 cells and profiles done" in seen.output
    assert "runs, everything ends" in seen.output
    assert len(rows(home)) >= 2
    assert processes.play("reset").status == 0
    assert not processes.unit("sweep").running()
    assert not processes.unit("relay").running()
    stopped = processes.play("status")
    assert stopped.status != 0
    assert "run the same full_sweep.yml again" in stopped.errors[0]
