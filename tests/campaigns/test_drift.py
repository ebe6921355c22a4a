"""Planted drift and planted noise: which rounds are measured again, and what becomes of verdicts.

20 splits, two end points, two sentinels, 5 rounds; independent log-normal scatter, by split (a
log-normal factor, 0.3) and round (1 %). 3 % of all runs are 1.3 times slower, so 6 % of quiet
rounds have such a sentinel. A step slows all runs after a random place of round 1, a ramp all from
first to last; neither is there when the round is measured again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from paretopipe_runtime.orchestrator.rounds import Drift, Log, Shift, rounds_of
from tests.campaigns.conftest import Findings
from tests.made import worlds
from tests.made.plans import row
from tests.runtime.test_rounds import MANY, plan_runs
from tests.statistics import characteristics

REPEATS = 5
RUNS = plan_runs(repeats=REPEATS, **MANY)
ROUNDS = rounds_of(RUNS)
LAST = len(RUNS) // REPEATS - 1  # place of the closing sentinel
SWEEPS = 200
SPREADS = (0.01, 0.02, 0.03, 0.05, 0.10)
DRIFTS = {
    "none": ("step", 0.0),
    **{f"step {by:.0%}": ("step", by) for by in (0.10, 0.25, 0.50)},
    "ramp 10%": ("ramp", 0.10),
}
JUDGED = ("none", "step 10%", "step 25%", "ramp 10%")
RULES = ("never", "5 % whatever the scatter", "three deviations of the scatter")
_AGAINST = np.linalg.cholesky(np.array([[1.0, -0.6], [-0.6, 1.0]]))

Measured = Mapping[str, NDArray[np.float64]]  # logarithms by run key


def measured(
    rng: np.random.Generator, true: NDArray[np.float64], cv: float, kind: str, by: float
) -> Measured:
    """Measure every run once, with a drift in round 1."""
    own = {run.cuts: math.exp(0.3 * rng.standard_normal()) for run in RUNS}
    level = {run.repeat: 0.01 * rng.standard_normal() for run in RUNS}
    place = rng.integers(1, LAST + 1)
    found = {}
    for run in RUNS:
        noise = cv * own[run.cuts] * (_AGAINST @ rng.standard_normal(2))
        late = run.order >= place if kind == "step" else run.order / LAST
        both = level[run.repeat] + (math.log1p(by) * late if run.repeat == 1 else 0)
        both += worlds.SLOW if rng.random() < 0.03 else 0
        known = true[run.cuts[0] - 1] if run.role != "end_point" else 0
        found[run.key] = known + noise + both * np.array([1.0, -1.0])
    return found


def again(found: Measured) -> dict[str, tuple[int, ...]]:
    """Return the rounds that each rule measures again."""
    log = Log(row(key, latency_s=np.exp(x), img_s=np.exp(y)) for key, (x, y) in found.items())
    fixed = Shift(0.05, 0.05)
    far = [one.number for one in ROUNDS if (s := log.shift(one, 1)) and s.beyond(fixed)]
    beyond = Drift.of(ROUNDS, log, 0.05, REPEATS).beyond
    return dict(zip(RULES, ((), tuple(far), beyond), strict=True))


def logs(first: Measured, second: Measured, rounds: tuple[int, ...]) -> NDArray[np.float64]:
    """Return what counts where these rounds were measured again, by split and round."""
    table = np.empty((len(MANY["splits"]), REPEATS, 2))
    for run in RUNS:
        if run.role == "split":
            counts = second if run.repeat in rounds else first
            table[run.cuts[0] - 1, run.repeat - 1] = counts[run.key]
    return table


@pytest.mark.parametrize("cv", SPREADS)
def test_what_is_measured_again(cv: float, findings: Findings) -> None:
    told: dict[str, list[str]] = {rule: [] for rule in RULES[1:]}
    for drift in DRIFTS.values():
        rng = np.random.default_rng(5)
        seen = [again(measured(rng, np.zeros((20, 2)), cv, *drift)) for _ in range(SWEEPS)]
        for rule, lines in told.items():
            quiet = sum(sum(number > 1 for number in found[rule]) for found in seen)
            share = sum(1 in found[rule] for found in seen) / SWEEPS
            # Quiet rounds beside one with drift, which may widen their limits.
            lines.append(f"{share:4.0%} ({quiet / SWEEPS / (REPEATS - 1):3.0%})")
            if rule == RULES[-1]:
                assert quiet <= 0.12 * SWEEPS * (REPEATS - 1)  # half of it slow sentinels
    if cv == SPREADS[0]:
        findings.add(f"Round 1 (each other round) measured again; {'; '.join(DRIFTS)}")
    for rule, lines in told.items():
        findings.add(f"CV {cv:3.0%}, {rule:32} {'  '.join(lines)}")


@pytest.mark.parametrize("cv", [0.02, 0.10])
@pytest.mark.parametrize("name", JUDGED)
def test_verdicts(cv: float, name: str, findings: Findings) -> None:
    said: dict[str, list[characteristics.Verdicts]] = {rule: [] for rule in RULES}
    rounds = dict.fromkeys(RULES, 0)
    for number in range(SWEEPS):
        rng = np.random.default_rng([number, 8])
        true = worlds.truth(rng, worlds.PAIRINGS["Pi to Pi"])
        first = measured(rng, true, cv, *DRIFTS[name])
        second = measured(rng, true, cv, *DRIFTS["none"])
        rules = again(first)
        found = {w: characteristics.of(true, logs(first, second, w)) for w in {*rules.values()}}
        for rule, which in rules.items():
            rounds[rule] += len(which)
            said[rule].append(found[which])
    for rule, verdicts in said.items():
        means = characteristics.mean(verdicts)
        findings.add(
            f"{name:8} in round 1, CV {cv:3.0%}, again: {rule:32} {rounds[rule] / SWEEPS:.2f} of 5 "
            f"rounds; of 20 splits wrong {means.wrong:.3f}, undecided {means.undecided:.2f}"
        )
