"""The split that loses least."""

from __future__ import annotations

import pytest

from reports.statistics.regret import balanced, minimax_regret

AIMS = [True, False]  # less of the first is better, more of the second


def test_the_robust_split_is_best_nowhere() -> None:
    points = {
        "near": {(1,): 1.0, (2,): 1.1, (3,): 2.0},
        "far": {(1,): 4.0, (2,): 2.2, (3,): 2.0},
    }
    cuts, loss, scenario = minimax_regret(points, lower_is_better=True)
    assert (cuts, scenario) == ((2,), "near")
    assert loss == pytest.approx(0.1)


def test_throughput_is_a_matter_of_ratios_too() -> None:
    points = {"near": {(1,): 10.0, (2,): 8.0}, "far": {(1,): 2.0, (2,): 4.0}}
    cuts, loss, scenario = minimax_regret(points, lower_is_better=False)
    assert (cuts, scenario) == ((2,), "near")
    assert loss == pytest.approx(10 / 8 - 1)


def test_only_splits_of_every_scenario_answer_but_all_are_the_yardstick() -> None:
    points = {"near": {(1,): 1.0, (2,): 1.5}, "far": {(2,): 2.0}}
    assert minimax_regret(points, lower_is_better=True) == ((2,), 0.5, "near")


def test_ties_go_to_the_earliest_cut_and_the_first_scenario() -> None:
    points = {"b": {(2,): 1.0, (1,): 1.0}, "a": {(1,): 3.0, (2,): 3.0}}
    assert minimax_regret(points, lower_is_better=True) == ((1,), 0.0, "b")
    assert balanced({(2,): (1.0, 2.0), (1,): (1.0, 2.0)}, AIMS) == ((1,), 0.0)


def test_balanced_weighs_the_larger_loss() -> None:
    points = {(1,): (1.0, 5.0), (2,): (1.2, 9.0), (3,): (1.1, 8.0), (4,): (2.0, 10.0)}
    cuts, loss = balanced(points, AIMS)
    assert cuts == (2,)
    assert loss == pytest.approx(0.2)
    # Half the best throughput; 1.2 and 1.14 times off; 1.9 times as slow.
    points = {(1,): (1.0, 4.0), (2,): (1.2, 7.0), (3,): (1.9, 8.0)}
    assert balanced(points, AIMS)[0] == (2,)


@pytest.mark.parametrize("points", [{}, {"near": {}}, {"near": {(1,): 1.0}, "far": {(2,): 1.0}}])
def test_no_common_split_is_refused(points: dict) -> None:
    with pytest.raises(ValueError, match="every scenario"):
        minimax_regret(points, lower_is_better=True)


def test_nothing_to_balance_is_refused() -> None:
    with pytest.raises(ValueError, match="measured split"):
        balanced({}, AIMS)
