"""Planted drift and planted noise: how often a round is measured again, rightly and for nothing.

20 splits, two end points, two sentinels; independent log-normal scatter, by split (a log-normal
factor, 0.3) and round (1 %). 3 % of all runs are 1.3 times slower, so 6 % of quiet rounds have such
a sentinel. A drift slows all runs after a random place of a round.
"""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pytest

from paretopipe_runtime.orchestrator.rounds import Drift, Log, Shift, rounds_of
from tests.campaigns.conftest import Findings
from tests.made.plans import row
from tests.runtime.test_rounds import MANY, plan_runs

CELLS = 400
SPREADS = (0.01, 0.02, 0.03, 0.05, 0.10)
STEPS = (0.10, 0.25, 0.50)
#: Standard deviation of the median of three runs over one's.
OF_THREE = 0.67
_AGAINST = np.linalg.cholesky(np.array([[1.0, -0.6], [-0.6, 1.0]]))


def measured(rng: np.random.Generator, repeats: int, cv: float, step: float) -> list[Any]:
    """Return a cell's records with a step in round 1, and three more of each sentinel."""
    runs = plan_runs(repeats=repeats, **MANY)
    own = {run.cuts: math.exp(0.3 * rng.standard_normal()) for run in runs}
    level = {run.repeat: 0.01 * rng.standard_normal() for run in runs}
    place = rng.integers(1, len(runs) // repeats)  # between the sentinels
    rows = []
    for run in runs:
        late = run.repeat == 1 and run.order >= place
        for _ in range(3 if run.role in ("open", "close") else 1):
            slow, fast = cv * own[run.cuts] * (_AGAINST @ rng.standard_normal(2))
            both = level[run.repeat] + (math.log1p(step) if late else 0)
            both += math.log(1.3) if rng.random() < 0.03 else 0
            latency_s, img_s = math.exp(slow + both), math.exp(fast - both)
            rows.append(row(run.key, latency_s=latency_s, img_s=img_s))
    return rows


def again(rows: list[Any], repeats: int) -> dict[str, list[int]]:
    """Return the rounds that each rule measures again."""
    rounds = rounds_of(plan_runs(repeats=repeats, **MANY))
    keys: dict[str, list[Any]] = {}
    for one in rows:
        keys.setdefault(one["run_key"], []).append(one)
    log = Log(found[0] for found in keys.values())
    found = Drift.of(rounds, log, 0.05, repeats)
    middle = Log(
        {
            **some[0],
            "latency": {"median_s": statistics.median(r["latency"]["median_s"] for r in some)},
            "throughput": {
                "sustained_img_s": statistics.median(
                    r["throughput"]["sustained_img_s"] for r in some
                )
            },
        }
        for some in keys.values()
    )
    narrow = Shift(*(max(0.05, math.expm1(OF_THREE * math.log1p(x))) for x in limits(found)))
    rules = {
        "5 % whatever the scatter": (log, Shift(0.05, 0.05)),
        "25 % whatever the scatter": (log, Shift(0.25, 0.25)),
        "three deviations of the cell's scatter": (log, found.limit),
        "as that, medians of three sentinels": (middle, narrow),
    }
    return {
        name: [r.number for r in rounds if (s := seen.shift(r, 1)) and s.beyond(limit)]
        for name, (seen, limit) in rules.items()
    }


def limits(drift: Drift) -> tuple[float, float]:
    return drift.limit.latency, drift.limit.throughput


@pytest.mark.parametrize("repeats", [3, 5])
def test_what_is_measured_again(repeats: int, findings: Findings) -> None:
    rng = np.random.default_rng(repeats)
    nothing: dict[str, list[float]] = {}
    right: dict[str, list[float]] = {}
    for cv in SPREADS:
        quiet = [again(measured(rng, repeats, cv, 0), repeats) for _ in range(CELLS // repeats)]
        for name in quiet[0]:
            share = sum(len(found[name]) for found in quiet) / len(quiet) / repeats
            nothing.setdefault(name, []).append(share)
        for step in STEPS:
            seen = [again(measured(rng, repeats, cv, step), repeats) for _ in range(CELLS // 4)]
            for name in quiet[0]:
                share = sum(1 in found[name] for found in seen) / len(seen)
                right.setdefault(name, []).append(share)
    findings.add(f"{repeats} rounds; run-to-run CV {', '.join(f'{cv:.0%}' for cv in SPREADS)}:")
    findings.add(f"{'':40}  for nothing, % of rounds    a step of 10/25/50 % found, %")
    for name, shares in nothing.items():
        found = right[name]
        triples = [found[k : k + len(STEPS)] for k in range(0, len(found), len(STEPS))]
        findings.add(
            f"{name:40}  "
            + " ".join(f"{100 * share:4.0f}" for share in shares)
            + "    "
            + "  ".join("/".join(f"{100 * x:.0f}" for x in triple) for triple in triples)
        )
    ours = nothing["three deviations of the cell's scatter"]
    # Half of it is planted: a round with a slow sentinel.
    assert max(ours) <= 0.12
