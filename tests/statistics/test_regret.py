"""The split that loses least."""

from __future__ import annotations

import pytest

from reports.statistics.regret import balanced

AIMS = [True, False]  # less of the first is better, more of the second


def test_ties_go_to_the_earliest_cut() -> None:
    assert balanced({(2,): (1.0, 2.0), (1,): (1.0, 2.0)}, AIMS) == ((1,), 0.0)


def test_balanced_weighs_the_larger_loss() -> None:
    points = {(1,): (1.0, 5.0), (2,): (1.2, 9.0), (3,): (1.1, 8.0), (4,): (2.0, 10.0)}
    cuts, loss = balanced(points, AIMS)
    assert cuts == (2,)
    assert loss == pytest.approx(0.2)
    # Half the best throughput; 1.2 and 1.14 times off; 1.9 times as slow.
    points = {(1,): (1.0, 4.0), (2,): (1.2, 7.0), (3,): (1.9, 8.0)}
    assert balanced(points, AIMS)[0] == (2,)


def test_nothing_to_balance_is_refused() -> None:
    with pytest.raises(ValueError, match="measured split"):
        balanced({}, AIMS)
