"""Comparing two settings: plain cases, and what is left open."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from reports.statistics.difference import differences, ratios
from tests.statistics import worlds

LEVEL = np.zeros((20, 2))


def _measured(seed: int, true: np.ndarray, cv: float = 0.01, blocks: int = 5) -> dict:
    rng = np.random.default_rng(seed)
    return worlds.values(worlds.runs(rng, true, cv, blocks, drift=0.001))


def test_a_tenth_slower_is_seen_in_both_objectives() -> None:
    slower = np.log(1.1) * np.array([1.0, -1.0])
    for pair in differences(_measured(1, LEVEL), _measured(2, LEVEL + slower)).values():
        assert pair.latency.verdict == "higher"
        assert pair.throughput.verdict == "lower"
        assert pair.latency.ratio == pytest.approx(1.1, abs=0.03)
        assert pair.latency.low < pair.latency.ratio < pair.latency.high


def test_the_same_is_equal_with_enough_runs() -> None:
    found = differences(_measured(3, LEVEL, 0.005, 12), _measured(4, LEVEL, 0.005, 12))
    assert {pair.latency.verdict for pair in found.values()} == {"equal"}


def test_a_difference_within_the_margin_is_not_claimed() -> None:
    slower = np.log(1.015) * np.array([1.0, -1.0])
    a, b = _measured(5, LEVEL, 0.001, 12), _measured(6, LEVEL + slower, 0.001, 12)
    assert {pair.latency.verdict for pair in differences(a, b).values()} == {"equal"}
    tight = differences(a, b, delta=0.005)
    assert {pair.latency.verdict for pair in tight.values()} == {"higher"}


def test_a_difference_of_the_margin_is_neither_equal_nor_higher() -> None:
    slower = np.log(1.02) * np.array([1.0, -1.0])
    found = differences(_measured(5, LEVEL, 0.003, 12), _measured(6, LEVEL + slower, 0.003, 12))
    # That the one is slower is certain, that it matters is not.
    assert all(pair.latency.low > 1.01 for pair in found.values())
    said = [pair.latency.verdict for pair in found.values()]
    assert said.count("undecided") >= 15


def test_blocks_that_differ_make_the_whole_side_uncertain() -> None:
    shift = np.array([0.0, 0.05, -0.05, 0.03, -0.03])[:, None] * np.array([1.0, -1.0])
    steady = worlds.runs(np.random.default_rng(7), LEVEL, 0.005, drift=0.0)
    calm, stormy = worlds.values(steady), worlds.values(steady + shift)
    narrow = differences(calm, calm)[1,].latency
    wide = differences(calm, stormy)[1,].latency
    assert wide.high - wide.low > 5 * (narrow.high - narrow.low)
    assert wide.verdict == "undecided"


def test_one_run_of_each_split_has_no_interval() -> None:
    found = differences(_measured(8, LEVEL, blocks=1), _measured(9, LEVEL + 0.5))
    assert {pair.latency.verdict for pair in found.values()} == {"undecided"}
    assert {pair.latency.low for pair in found.values()} == {None}
    assert found[1,].latency.ratio == pytest.approx(np.exp(0.5), rel=0.1)


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
    assert differences(a, b).keys() == {(1,), (3,)}
    assert differences(a, {}) == {}
