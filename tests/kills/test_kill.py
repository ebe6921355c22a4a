"""kill -9 of a worker, the orchestrator or the controller at each phase of a sweep."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.effort import some
from tests.effort import trials as number_of
from tests.kills import trial
from tests.kills.jobs import CONTROLLER_PHASES
from tests.kills.phases import ONCE, PHASES
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
