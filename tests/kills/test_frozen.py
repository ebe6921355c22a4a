"""SIGSTOP: a frozen process is told by its deadline; a short pause is seen or does not matter."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator import postmortem
from paretopipe_runtime.wire import handshake
from tests.effort import some, trials
from tests.kills import trial
from tests.kills.jobs import GREETING_S
from tests.kills.phases import PHASES
from tests.kills.trial import Bench
from tests.kills.zygote import children

DEADLINES = [0.8, 1.2]  # of a transfer and of a batch, in seconds; a plan's own are minutes
GRACE_S = 2.0
PAUSE_S = 0.3
TYPED = {"failed:E_STALL", "failed:E_PEER_LOST", "failed:E_TRUNC", "failed:E_AUTH_TIMEOUT"}
SEED, SAMPLE = 20261124, 4  # of all phases and victims, for the suite
VICTIMS = ("worker", "orchestrator", "controller")
LONG_PAUSE_S = 1.0  # longer than a controller's lease here, and than a batch's deadline
IN_A_RUN = ("workers_up", "warm_up", "mid_tensor", "between_batches")


def rows(folder: Path) -> list[dict[str, Any]]:
    """The runs' records, as the orchestrator has them."""
    lines = map(json.loads, trial.whole(folder / "orchestrator.jsonl").splitlines())
    return [line for line in lines if line["kind"] == "run"]


def freeze(bench: Bench, folder: Path, phase: str, node: str) -> float:
    """Freeze a stage for good; return the seconds until its run has a record that says so."""
    gate = {"folder": str(folder), "phase": phase, "run": 1}
    controller = bench.control(folder, gate=gate, deadlines=DEADLINES)
    trial.reach(folder, phase)
    (victim,) = bench.stages(node)
    os.kill(victim, signal.SIGSTOP)
    try:
        (folder / "go").touch()
        began = time.monotonic()
        trial.wait_until(lambda: rows(folder), 30, "no record")
        took = time.monotonic() - began
        assert bench.zygote.status(controller) == 0, (folder / "log").read_text()
        assert victim not in bench.stages(node), "the frozen stage is still there"
    finally:
        if victim in bench.stages(node):
            os.kill(victim, signal.SIGKILL)
    bench.settle()
    first, *others = rows(folder)
    assert first["status"] in TYPED
    assert first["message"]
    assert first["attempt"] == 1
    assert sorted(row["attempt"] for row in others) == [1, 2], "tried again once, and gone on"
    trial.assert_complete((folder / "home.jsonl").read_bytes(), bench.keys)
    return took


@pytest.mark.parametrize(("phase", "node"), some(list(product(IN_A_RUN, ("pi1", "pi2"))), 3))
def test_a_frozen_stage_is_told_by_its_deadline(
    bench: Bench, tmp_path: Path, phase: str, node: str
) -> None:
    took = freeze(bench, tmp_path, phase, node)
    assert took < max(DEADLINES) + GRACE_S


def pause(bench: Bench, folder: Path, phase: str, victim: str) -> dict[str, Any]:
    """Pause a victim shortly; return the record of the run that it happened in."""
    gate = {"folder": str(folder), "phase": phase, "run": 1}
    controller = bench.control(folder, gate=gate)
    trial.reach(folder, phase)
    pids = {
        "orchestrator": [int((folder / "reached").read_text())],
        "pi1": bench.stages("pi1"),
        "pi2": bench.stages("pi2"),
    }[victim]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    (folder / "go").touch()
    time.sleep(PAUSE_S)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    assert bench.zygote.status(controller) == 0
    bench.settle()
    trial.assert_complete((folder / "home.jsonl").read_bytes(), bench.keys)
    return rows(folder)[0]


def paused(bench: Bench, folder: Path, phase: str, victim: str) -> None:
    """One trial: the pause is in the times that it fell into, or the run does not count."""
    row = pause(bench, folder, phase, victim)
    if row["status"] != "ok":
        assert row["message"] or row["status"].startswith("invalid:")
        return
    assert row["proof"]["argmax_equal"]
    assert row["proof"]["max_rel_err"] <= row["proof"]["tolerance"]
    if phase == "between_batches":  # of the latency phase: the pause fell into a measured time
        assert max(row["latency"]["batch_s"]) > PAUSE_S / 2
    else:  # before the first measured batch: the warm-up is kept apart
        assert row["wall_s"] > PAUSE_S / 2


@pytest.mark.parametrize(
    ("phase", "victim"), some(list(product(IN_A_RUN, ("orchestrator", "pi1", "pi2"))), 5)
)
def test_a_short_pause_is_in_the_times(
    bench: Bench, tmp_path: Path, phase: str, victim: str
) -> None:
    paused(bench, tmp_path, phase, victim)


def test_a_frozen_controller_ends_the_sweep_and_takes_what_it_has(
    bench: Bench, tmp_path: Path
) -> None:
    controller = bench.control(
        tmp_path, gate={"folder": str(tmp_path), "phase": "warm_up", "run": 1}
    )
    trial.reach(tmp_path, "warm_up")
    os.kill(controller, signal.SIGSTOP)
    time.sleep(0.6)  # longer than the lease
    (tmp_path / "go").touch()
    trial.wait_until(
        lambda: "the same command goes on" in (tmp_path / "log").read_text(), 30, "no end"
    )
    os.kill(controller, signal.SIGCONT)
    assert bench.zygote.status(controller) == 75
    assert len(rows(tmp_path)) == 1
    bench.finish(tmp_path)
    trial.assert_complete((tmp_path / "home.jsonl").read_bytes(), bench.keys)


@pytest.mark.parametrize("process", ["fork server", "agent"])
def test_a_frozen_node_is_told_by_its_deadline(bench: Bench, tmp_path: Path, process: str) -> None:
    """Nothing can be launched there; once it goes on, so does the sweep."""
    victim = bench.cluster.agents["pi2"].pid
    if process == "fork server":
        (victim,) = children(victim)
    os.kill(victim, signal.SIGSTOP)
    try:
        controller = bench.control(tmp_path, deadlines=DEADLINES)
        began = time.monotonic()
        trial.wait_until(lambda: rows(tmp_path), 30, "no record")
        took = time.monotonic() - began
    finally:
        os.kill(victim, signal.SIGCONT)
    first = rows(tmp_path)[0]
    assert first["status"] in {"failed:E_STALL", "failed:E_AUTH_TIMEOUT"}
    assert "key" not in first["message"], "it has the right one"
    # A frozen agent answers no greeting, and cannot be asked what became of the run, either.
    more = GREETING_S + postmortem.TIMEOUT_S if process == "agent" else 0
    assert took < DEADLINES[1] + GRACE_S + more
    bench.zygote.status(controller)
    bench.settle()
    bench.finish(tmp_path)
    trial.assert_complete((tmp_path / "home.jsonl").read_bytes(), bench.keys)


def test_an_agent_that_gives_no_answer_is_called_frozen(bench: Bench) -> None:
    victim = bench.cluster.agents["pi2"].pid
    where = (bench.cluster.addresses["pi2"], bench.cluster.port)
    os.kill(victim, signal.SIGSTOP)
    try:
        with pytest.raises(ParetoPipeError) as raised:
            handshake.connect(where, bench.cluster.key, {"role": "end"}, timeout=0.5)
    finally:
        os.kill(victim, signal.SIGCONT)
    assert raised.value.code == "E_AUTH_TIMEOUT"
    assert "took the connection and gave no answer after 0.5 s" in raised.value.message
    assert "frozen or its host overloaded" in raised.value.message
    assert "systemctl status paretopipe-worker" in raised.value.message


def test_silent_hosts_delay_the_error_by_less_than_its_grace(bench: Bench, tmp_path: Path) -> None:
    """All that could be asked what became of the run is frozen."""
    gate = {"folder": str(tmp_path), "phase": "between_batches", "run": 1}
    controller = bench.control(tmp_path, gate=gate, deadlines=DEADLINES)
    trial.reach(tmp_path, "between_batches")
    stages = [pid for node in bench.cluster.agents for pid in bench.stages(node)]
    agents = [agent.pid for agent in bench.cluster.agents.values()]
    for pid in (*agents, *stages):
        os.kill(pid, signal.SIGSTOP)
    try:
        (tmp_path / "go").touch()
        began = time.monotonic()
        trial.wait_until(lambda: rows(tmp_path), 30, "no record")
        took = time.monotonic() - began
    finally:
        for pid in (*stages, *agents):
            os.kill(pid, signal.SIGCONT)
    assert rows(tmp_path)[0]["status"] in TYPED
    assert took < max(DEADLINES) + GRACE_S
    bench.zygote.status(controller)
    bench.settle()
    bench.finish(tmp_path)
    trial.assert_complete((tmp_path / "home.jsonl").read_bytes(), bench.keys)


def freeze_at(bench: Bench, folder: Path, phase: str, victim: str, node: str) -> None:
    """Freeze a victim at any phase, a node's agent where it has no stage, and let it go on.

    It stays frozen until a record tells of it, or as long as it takes to be noticed. Whatever
    became of the sweep, the same command completes it: nothing is lost, doubled or left.
    """
    gate = {"folder": str(folder), "phase": phase, "run": 1}
    controller = bench.control(folder, gate=gate, deadlines=DEADLINES)
    trial.reach(folder, phase)
    before = trial.Files(folder)
    earlier = len(rows(folder))
    pids = {
        "worker": bench.stages(node) or [bench.cluster.agents[node].pid],
        "orchestrator": [int((folder / "reached").read_text())],
        "controller": [controller],
    }[victim]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    (folder / "go").touch()
    deadline = time.monotonic() + (30 if victim == "worker" else LONG_PAUSE_S)
    while len(rows(folder)) <= earlier and time.monotonic() < deadline:
        if bench.zygote.ended(controller) is not None:  # there was nothing more to measure
            break
        time.sleep(0.01)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # killed as what is left of its run
            os.kill(pid, signal.SIGCONT)
    bench.zygote.status(controller)
    bench.settle()
    for row in rows(folder):
        assert row["status"] == "ok" or row["status"].startswith("invalid:") or row["message"]
        assert row["status"].partition(":")[0] != "failed" or row["status"] in TYPED, row["message"]
    bench.finish(folder)
    trial.check(bench, folder, before)


ALL = [(phase, victim) for phase in PHASES for victim in VICTIMS]


@pytest.mark.parametrize(
    ("phase", "victim"), random.Random(SEED).sample(ALL, trials(SAMPLE, len(ALL)))
)
def test_whoever_freezes_nothing_is_lost_or_doubled(
    bench: Bench, tmp_path: Path, phase: str, victim: str
) -> None:
    freeze_at(
        bench, tmp_path, phase, victim, random.Random(f"{SEED}{phase}").choice(("pi1", "pi2"))
    )
