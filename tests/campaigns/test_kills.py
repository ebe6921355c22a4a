"""Sweeps that are killed, stopped, starved of disk, doubled, or given damaged weights.

`tests/kills/` in larger numbers (``TIMES=1``: the suite's own). Without a failure in n trials its
probability is below 1 - 0.05^(1/n), with 95 % confidence.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.campaigns.conftest import Findings
from tests.kills import test_damaged_weights as weights
from tests.kills import test_disk as disk
from tests.kills import test_frozen as frozen
from tests.kills import trial
from tests.kills.conftest import bench as bench
from tests.kills.conftest import real_bench as real_bench
from tests.kills.jobs import CONTROLLER_PHASES
from tests.kills.phases import ONCE, PHASES
from tests.kills.test_two_at_once import pair
from tests.kills.trial import VICTIMS, Bench, upper_bound

TIMES = int(os.environ.get("TIMES", "13"))
SEED = int(os.environ.get("SEED", str(random.SystemRandom().randrange(2**32))))
pytestmark = pytest.mark.timeout(4 * 3600)


class Tally:
    """Counts trials and failures; a failure does not end the campaign."""

    def __init__(self, folder: Path, bench: Bench) -> None:
        self._folder, self._bench = folder, bench
        self._began = time.monotonic()
        self.trials = self.failures = 0

    def of(self, name: str, trial: Callable[[Path], object]) -> object:
        self.trials += 1
        here = self._folder / str(self.trials)
        here.mkdir()
        try:
            return trial(here)
        except AssertionError as error:
            self.failures += 1
            print(f"FAILED {name}, seed {SEED}: {error}", flush=True)
            for reached in here.rglob("reached"):  # free it for the next trial
                (reached.parent / "go").touch()
            self._bench.settle()
            return None

    def close(self, findings: Findings, title: str, more: str = "") -> None:
        bound = f"at most {100 * upper_bound(self.trials):.2f} %" if not self.failures else "-"
        took = time.monotonic() - self._began
        findings.add(
            f"{title:<66} {self.trials:>5} trials, {self.failures} failures, {bound}{more}; "
            f"seed {SEED}, {took:.0f} s"
        )
        assert not self.failures


def kill(bench: Bench, tally: Tally, phases: tuple[str, ...], trials: int) -> None:
    """Kill each victim at each phase; the seed chooses run and node."""
    for phase in phases:
        for victim in VICTIMS:
            for number in range(trials):
                chance = random.Random(f"{SEED}|{phase}|{victim}|{number}")
                run, node = chance.choice((1, 2)), chance.choice(("pi1", "pi2"))
                run = 1 if phase in ONCE else run
                name = f"{phase} {victim} {number}"
                tally.of(
                    name,
                    lambda here, a=(phase, victim, run, node): trial.kill_at(bench, here, *a),
                )


def test_kills(bench: Bench, findings: Findings, tmp_path: Path) -> None:
    tally = Tally(tmp_path, bench)
    kill(bench, tally, PHASES, 5 * TIMES)
    tally.close(findings, "kill -9 of worker, orchestrator or controller at 16 phases")


def test_kills_of_the_controller(bench: Bench, findings: Findings, tmp_path: Path) -> None:
    tally = Tally(tmp_path, bench)
    for phase in CONTROLLER_PHASES:
        for _ in range(TIMES):
            tally.of(phase, lambda here, a=phase: trial.kill_controller_at(bench, here, a))
    tally.close(findings, "kill -9 of the controller at 6 phases of its own")


def test_kills_with_torch(real_bench: Bench, findings: Findings, tmp_path: Path) -> None:
    tally = Tally(tmp_path, real_bench)
    kill(real_bench, tally, PHASES, max(1, TIMES // 6))
    tally.close(findings, "kill -9 at the same 16 phases, stages with torch")


@pytest.mark.parametrize("kib", disk.KIB)
def test_full_disks(bench: Bench, findings: Findings, tmp_path: Path, kib: int) -> None:
    size, levels, repeats = disk.levels(kib)
    if TIMES == 1 and len(levels) > disk.LEVELS:
        levels = sorted(random.Random(SEED).sample(levels, disk.LEVELS))
    step = levels[1] - levels[0] if TIMES > 1 or kib != disk.KIB[0] else disk.STEP
    tally = Tally(tmp_path, bench)
    counts = disk.on_disk(bench, tmp_path, "fill", repeats=repeats, size=size, levels=levels)
    tally.trials = counts["trials"]
    stopped = f" ({counts['stopped']} met a full disk)"
    tally.close(findings, f"disk full, every {step} B of {kib} KiB", stopped)


def test_failing_calls(bench: Bench, findings: Findings, tmp_path: Path) -> None:
    tally = Tally(tmp_path, bench)
    tally.trials = disk.on_disk(bench, tmp_path, "fail", repeats=3 * TIMES)["trials"]
    tally.close(findings, "open, write or fsync fails at each call of a sweep, in 6 ways")


def test_two_at_once(bench: Bench, findings: Findings, tmp_path: Path) -> None:
    tally = Tally(tmp_path, bench)
    took = [tally.of("pair", lambda here: pair(bench, here)) for _ in range(50 * TIMES)]
    slowest = max(seconds for seconds in took if isinstance(seconds, float))
    tally.close(
        findings, "two controllers at once: one measures", f" (refused within {slowest:.2f} s)"
    )


def test_frozen(bench: Bench, findings: Findings, tmp_path: Path) -> None:
    tally = Tally(tmp_path, bench)
    took = []
    for phase in frozen.IN_A_RUN:
        for node in ("pi1", "pi2"):
            for _ in range(TIMES):
                name = f"{phase} {node}"
                took.append(
                    tally.of(
                        name,
                        lambda here, a=(phase, node): frozen.freeze(bench, here, *a),
                    )
                )
    over = max(seconds for seconds in took if isinstance(seconds, float)) - max(frozen.DEADLINES)
    tally.close(
        findings, "SIGSTOP of a stage at 4 phases", f" (told {over:+.2f} s from its deadline)"
    )


def test_frozen_anywhere(bench: Bench, findings: Findings, tmp_path: Path) -> None:
    tally = Tally(tmp_path, bench)
    for phase, victim in frozen.ALL:
        for number in range(TIMES):
            node = random.Random(f"{SEED}|{phase}|{victim}|{number}").choice(("pi1", "pi2"))
            tally.of(
                f"{phase} {victim} {node}",
                lambda here, a=(phase, victim, node): frozen.freeze_at(bench, here, *a),
            )
    tally.close(findings, "SIGSTOP of worker, orchestrator or controller at 16 phases")


def test_paused(bench: Bench, findings: Findings, tmp_path: Path) -> None:
    tally = Tally(tmp_path, bench)
    for phase in frozen.IN_A_RUN:
        for victim in ("orchestrator", "pi1", "pi2"):
            for _ in range(TIMES):
                tally.of(
                    f"{phase} {victim}",
                    lambda here, a=(phase, victim): frozen.paused(bench, here, *a),
                )
    tally.close(findings, "a pause of 0.3 s at 4 phases: seen in the times, or typed")


@pytest.mark.parametrize("kind", weights.DAMAGES)
def test_damaged_weights(real_bench: Bench, findings: Findings, tmp_path: Path, kind: str) -> None:
    tally = Tally(tmp_path, real_bench)
    for number in range(weights.EACH * TIMES):
        chance = random.Random(f"{SEED}|{kind}|{number}")
        tally.of(
            kind,
            lambda here, a=(kind, chance): weights.told(real_bench, here, *a),
        )
    names = {"flip": "one bit flipped", "nan": "a NaN", "stale": "another block's content"}
    tally.close(findings, f"a block's weights with {names[kind]}: E_WEIGHTS")


def test_honest_nan(real_bench: Bench, findings: Findings, tmp_path: Path) -> None:
    tally = Tally(tmp_path, real_bench)
    for number in range(3 * TIMES):
        chance = random.Random(f"{SEED}|honest|{number}")
        tally.of("honest", lambda here, a=chance: weights.non_finite(real_bench, here, a))
    tally.close(findings, "weights that are as sent, with a NaN: invalid:non_finite")
