"""Planted sweeps of three and four equal Pis in a row, with at most sixty runs each.

The table of two real Pis (``tests/data/``) gives the blocks' times; predictions err as in
``tests/made/predicted.py``. Both processors, about half an hour when idle.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import pytest

from roles.plan.planning.doubt import CHAIN_RUNS
from tests.campaigns.conftest import Findings
from tests.made import predicted
from tests.statistics.adaptive import Chained, Task, chained

HOSTS = ("pi1", "pi2", "pi3", "pi4")
CV, BAR = 0.02, 0.03
PLAIN, SLOW, HOST, SPLIT, ERRORS = predicted.WORLDS
CASES = [
    *((model, 3, PLAIN, 40) for model in ("resnet18", "mobilenetv2")),
    *((model, 4, PLAIN, 8) for model in ("resnet18", "mobilenetv2")),
    *(("mobilenetv2", 3, world, 8) for world in (SLOW, HOST, SPLIT, ERRORS)),
]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("model", "hosts", "world", "sweeps"), CASES)
def test_the_front_of_a_chain_is_found(
    findings: Findings,
    pool: ProcessPoolExecutor,
    model: str,
    hosts: int,
    world: str,
    sweeps: int,
) -> None:
    sweep = partial(chained, hosts=HOSTS[:hosts], most=CHAIN_RUNS)
    tasks = [Task(world, model, CV, 0.0, number) for number in range(sweeps)]
    found = [*pool.map(sweep, tasks)]
    runs = [one.runs for one in found]
    findings.add("")
    findings.add(
        f"{model}, {hosts} hosts, {world}: {found[0].splits} splits, {found[0].candidates} of them "
        f"judged; {sweeps} sweeps of {min(runs)} to {max(runs)} runs"
    )
    for name, label in (
        ("latency", "pick for latency loses"),
        ("throughput", "pick for throughput loses"),
        ("front", "front found is behind the true one by"),
    ):
        findings.add(f"  {label}: {_spread([getattr(one, name) for one in found])}")
    for goal, label in enumerate(("latency", "throughput")):
        said = _spread([one.alone[goal] for one in found])
        findings.add(f"  without a run the pick for {label} loses: {said}")
    assert max(runs) <= CHAIN_RUNS
    if world == PLAIN:
        assert _within(found) >= 0.95


def _within(found: list[Chained]) -> float:
    return float(np.mean([one.front <= BAR for one in found]))


def _spread(values: list[float]) -> str:
    shares = np.array(values)
    return (
        f"median {np.median(shares):.1%}, at most {shares.max():.1%}; within {BAR:.0%} in "
        f"{np.mean(shares <= BAR):.1%}"
    )
