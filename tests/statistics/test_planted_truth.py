"""Sweeps whose truth is known: the statistics must be right as often as they say.

``docs/statistics.md`` tells what is planted and holds the figures of the long version.
"""

from __future__ import annotations

import pytest

from reports.statistics.difference import coverage_percent
from tests.statistics import characteristics, worlds

CVS = (0.01, 0.02, 0.03)


@pytest.mark.parametrize(("name", "count"), [("Pi to Pi", 102), ("Pi to GPU", 30)])
def test_verdicts_are_right_and_most_splits_get_one(name: str, count: int) -> None:
    found = characteristics.sweeps(worlds.PAIRINGS[name], CVS, count)
    for place, cv in enumerate(CVS):
        means = characteristics.mean(found[place :: len(CVS)])
        assert means.wrong <= 0.15, cv
        assert means.undecided <= 4, cv
        assert means.brier <= 0.05, cv
    whole = characteristics.mean(found)
    # Otherwise there would be nothing to decide.
    assert whole.members >= 1
    if name == "Pi to Pi":  # the front of medians is wrong far more often
        assert whole.naive > 10 * whole.wrong


def test_hard_fronts_stay_calibrated() -> None:
    # Many splits within the noise of each other: more errors than elsewhere, never many.
    found = characteristics.sweeps(worlds.PAIRINGS["Pi to Pi, slow link"], CVS, 48, missing=0.05)
    means = characteristics.mean(found)
    assert means.wrong <= 0.3
    assert means.brier <= 0.06
    assert 3 <= means.members <= 4


@pytest.mark.parametrize("n", [3, 5, 6, 10])
@pytest.mark.parametrize("cv", CVS)
def test_range_of_the_runs_covers_the_median_as_often_as_said(n: int, cv: float) -> None:
    assert characteristics.covered(n, cv, 200) == pytest.approx(coverage_percent(n), abs=3)


def test_exact_coverage() -> None:
    assert coverage_percent(5) == 93.75
    assert coverage_percent(1) == 0
    with pytest.raises(ValueError, match="at least one run"):
        coverage_percent(0)


@pytest.mark.parametrize("cv", CVS)
def test_the_same_measured_twice_is_not_called_different(cv: float) -> None:
    # 1 % of drift from round to round and of shift from cell to cell.
    found = characteristics.compared(1.0, cv, 10)
    assert found.equal + found.undecided >= 0.95
    assert found.covers >= 0.9


def test_the_same_measured_twice_under_calm_conditions_is_equal() -> None:
    found = characteristics.compared(1.0, 0.01, 10, rounds=10, drift=0.002, shift=0)
    assert found.equal >= 0.8
    assert found.lower + found.higher <= 0.05


@pytest.mark.parametrize("cv", CVS[:2])
def test_a_tenth_more_is_found(cv: float) -> None:
    found = characteristics.compared(1.1, cv, 10)
    assert found.higher >= 0.95
    assert found.lower <= 0.01
