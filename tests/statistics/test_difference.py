"""Comparing two settings: plain cases, and what is left open."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from reports.statistics.difference import ratios
from tests.made import worlds

LEVEL = np.zeros((20, 2))


def _measured(
    seed: int, true: np.ndarray, cv: float = 0.01, rounds: int = 5, place: int = 0
) -> dict:
    rng = np.random.default_rng(seed)
    return worlds.quantities(worlds.runs(rng, true, cv, rounds, drift=0.001), place)


def test_a_tenth_slower_is_seen_in_both_objectives() -> None:
    slower = np.log(1.1) * np.array([1.0, -1.0])
    for found in ratios(_measured(1, LEVEL), _measured(2, LEVEL + slower)).values():
        assert found.verdict == "higher"
        assert found.ratio == pytest.approx(1.1, abs=0.03)
        assert found.low < found.ratio < found.high
    throughput = ratios(_measured(1, LEVEL, place=1), _measured(2, LEVEL + slower, place=1))
    assert {found.verdict for found in throughput.values()} == {"lower"}


def test_the_same_is_equal_with_enough_runs() -> None:
    found = ratios(_measured(3, LEVEL, 0.005, 12), _measured(4, LEVEL, 0.005, 12))
    assert {pair.verdict for pair in found.values()} == {"equal"}


def test_a_difference_within_the_margin_is_not_claimed() -> None:
    slower = np.log(1.015) * np.array([1.0, -1.0])
    a, b = _measured(5, LEVEL, 0.001, 12), _measured(6, LEVEL + slower, 0.001, 12)
    assert {pair.verdict for pair in ratios(a, b).values()} == {"equal"}
    tight = ratios(a, b, delta=0.005)
    assert {pair.verdict for pair in tight.values()} == {"higher"}


def test_a_difference_of_the_margin_is_neither_equal_nor_higher() -> None:
    slower = np.log(1.02) * np.array([1.0, -1.0])
    found = ratios(_measured(5, LEVEL, 0.003, 12), _measured(6, LEVEL + slower, 0.003, 12))
    # That the one is slower is certain, that it matters is not.
    assert all(pair.low > 1.01 for pair in found.values())
    said = [pair.verdict for pair in found.values()]
    assert said.count("undecided") >= 15


def test_blocks_that_differ_make_the_whole_side_uncertain() -> None:
    shift = np.array([0.0, 0.05, -0.05, 0.03, -0.03])[:, None] * np.array([1.0, -1.0])
    steady = worlds.runs(np.random.default_rng(7), LEVEL, 0.005, drift=0.0)
    calm, stormy = worlds.quantities(steady), worlds.quantities(steady + shift)
    narrow = ratios(calm, calm)[1,]
    wide = ratios(calm, stormy)[1,]
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)
    assert wide.verdict == "undecided"


def test_one_run_of_each_split_has_no_interval() -> None:
    found = ratios(_measured(8, LEVEL, rounds=1), _measured(9, LEVEL + 0.5))
    assert {pair.verdict for pair in found.values()} == {"undecided"}
    assert {pair.low for pair in found.values()} == {None}
    assert found[1,].ratio == pytest.approx(np.exp(0.5), rel=0.1)


def test_a_split_alone_has_the_interval_of_welch() -> None:
    a, b = [(1, 1.00), (2, 1.02), (3, 0.99)], [(1, 1.20), (2, 1.25), (3, 1.22)]
    found = ratios({(4,): a}, {(4,): b})[4,]
    x, y = np.log([value for _, value in a]), np.log([value for _, value in b])
    low, high = stats.ttest_ind(y, x, equal_var=False).confidence_interval(0.95)
    assert found.ratio == pytest.approx(np.exp(y.mean() - x.mean()), rel=1e-6)
    assert (found.low, found.high) == pytest.approx((np.exp(low), np.exp(high)), rel=2e-3)


def test_only_splits_of_both_sides_are_compared() -> None:
    a, b = _measured(10, LEVEL[:3]), _measured(11, LEVEL[:5])
    del b[2,]
    assert ratios(a, b).keys() == {(1,), (3,)}
    assert ratios(a, {}) == {}
