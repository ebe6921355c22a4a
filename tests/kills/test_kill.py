"""kill -9 of each part at each phase of a sweep; nodes that restart during a run or between two."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from paretopipe_runtime.orchestrator import postmortem
from tests.effort import some
from tests.effort import trials as number_of
from tests.kills import trial
from tests.kills.jobs import CONTROLLER_PHASES
from tests.kills.phases import ONCE, PHASES
from tests.kills.test_frozen import rows
from tests.kills.trial import VICTIMS, Bench

TRIALS = number_of(1, 5)  # of each phase and victim: 48, or 240
SEED = 20261124


def kill(bench: Bench, folder: Path, phase: str, victim: str, trials: int, seed: int) -> None:
    """So many trials of one phase and victim; the seed says which run, and which node."""
    for number in range(trials):
        chance = random.Random(f"{seed}|{phase}|{victim}|{number}")
        run, node = chance.choice((1, 2)), chance.choice(("pi1", "pi2"))
        here = folder / str(number)
        here.mkdir()
        print(f"{phase} {victim} trial {number}: run {run}, {node}, seed {seed}")
        trial.kill_at(bench, here, phase, victim, 1 if phase in ONCE else run, node)


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("phase", PHASES)
def test_nothing_is_lost_or_doubled(bench: Bench, tmp_path: Path, phase: str, victim: str) -> None:
    kill(bench, tmp_path, phase, victim, TRIALS, SEED)


@pytest.mark.parametrize("phase", CONTROLLER_PHASES)
def test_a_controller_that_is_killed_loses_nothing(
    bench: Bench, tmp_path: Path, phase: str
) -> None:
    trial.kill_controller_at(bench, tmp_path, phase)


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("phase", some(["mid_tensor", "connected", "warm_up", "mid_write"], 1))
def test_with_torch_as_well(real_bench: Bench, tmp_path: Path, phase: str, victim: str) -> None:
    kill(real_bench, tmp_path, phase, victim, 1, SEED)


def boot(bench: Bench, node: str) -> Path:
    return bench.cluster.folder / node / "boot_id"


def power_cut(bench: Bench) -> None:
    """The agent and all that it has started go; another boot's comes."""
    bench.cluster.stop("pi2")
    boot(bench, "pi2").write_text("after a power cut")
    bench.cluster.start("pi2")


def another_boot(bench: Bench) -> None:
    """Only the name changes, as where a machine's image is resumed elsewhere."""
    boot(bench, "pi2").write_text("resumed elsewhere")


@pytest.mark.parametrize("happens", [power_cut, another_boot], ids=lambda one: one.__name__)
def test_a_reboot_in_a_run_spoils_it_and_the_next_row_has_the_new_boot(
    bench: Bench, tmp_path: Path, happens: Callable[[Bench], None]
) -> None:
    gate = {"folder": str(tmp_path), "phase": "between_batches", "run": 1}
    controller = bench.control(tmp_path, gate=gate)
    trial.reach(tmp_path, "between_batches")
    old = boot(bench, "pi2").read_text()
    happens(bench)
    new = boot(bench, "pi2").read_text()
    assert new != old
    (tmp_path / "go").touch()
    assert bench.zygote.status(controller) == 0, (tmp_path / "log").read_text()
    bench.settle()
    first, *others = rows(tmp_path)
    assert first["status"] == postmortem.NODE_REBOOTED == "invalid:node_rebooted", first["message"]
    assert first["message"].startswith("pi2 was rebooted while the run was measured")
    assert [row["status"] for row in others] == ["ok", "ok"]
    assert sorted(row["attempt"] for row in others) == [1, 2], "tried again once, and gone on"
    assert {row["hosts"]["pi2"]["boot_id"] for row in others} == {new}
    trial.assert_complete((tmp_path / "home.jsonl").read_bytes(), bench.keys)


def test_a_reboot_between_runs_is_in_the_next_row(bench: Bench, tmp_path: Path) -> None:
    gate = {"folder": str(tmp_path), "phase": "synced_not_pulled", "run": 1}
    controller = bench.control(tmp_path, gate=gate)
    trial.reach(tmp_path, "synced_not_pulled")
    boot(bench, "pi1").write_text(f"{boot(bench, 'pi1').read_text()}, and one more")
    (tmp_path / "go").touch()
    assert bench.zygote.status(controller) == 0
    bench.settle()
    first, second = rows(tmp_path)
    assert [row["status"] for row in (first, second)] == ["ok", "ok"]
    assert "rebooted_before" not in first
    assert second["rebooted_before"] == ["pi1"]
    assert first["hosts"]["pi1"]["boot_id"] != second["hosts"]["pi1"]["boot_id"]


def test_what_is_not_known_is_no_reboot() -> None:
    assert postmortem.changed(["a"], {"a": None}, {"a": "x"}) == []
    assert postmortem.changed(["a"], {}, {"a": "x"}) == []
    assert postmortem.changed(["a"], {"a": "x"}, {}) == []
    assert postmortem.changed(["a", "b"], {"a": "x", "b": "y"}, {"a": "x", "b": "z"}) == ["b"]
