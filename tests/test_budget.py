"""The suite stays small: no folder takes half as much again as the budget that is committed."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests import conftest
from tests.effort import THOROUGH

BUDGET = Path(__file__).with_name("budget.toml")
SLACK = 1.5


def over(processor_s: dict[str, float], budget_s: dict[str, float]) -> list[str]:
    """Return a sentence for each folder that takes too much, or has no budget."""
    return [
        f"tests/{folder} took {seconds:.0f} s of the processor, its budget is {budget_s[folder]} s"
        if folder in budget_s
        else f"tests/{folder} has no budget: it took {seconds:.0f} s of the processor"
        for folder, seconds in processor_s.items()
        if seconds > SLACK * budget_s.get(folder, 0)
    ]


def test_what_takes_half_as_much_again_is_told() -> None:
    assert over({"wire": 14.9}, {"wire": 10}) == []
    assert over({"wire": 15.1}, {"wire": 10}) == [
        "tests/wire took 15 s of the processor, its budget is 10 s"
    ]
    assert over({"new": 3.0}, {"wire": 10}) == [
        "tests/new has no budget: it took 3 s of the processor"
    ]


def test_a_new_slow_test_is_charged_to_its_folder() -> None:
    costs = conftest.Costs()
    began = conftest.processor_s()
    while conftest.processor_s() - began < 0.2:
        sum(range(100_000))
    costs.charge("wire")
    assert costs.processor_s["wire"] > 0.1


@pytest.mark.skipif(THOROUGH, reason="the budget is the suite's own, and this is all of it")
def test_no_folder_takes_half_as_much_again_as_its_budget(request: pytest.FixtureRequest) -> None:
    costs = request.config.stash[conftest.COSTS]
    budget = tomllib.loads(BUDGET.read_text())["processor_s"]
    assert over(costs.processor_s, budget) == []
