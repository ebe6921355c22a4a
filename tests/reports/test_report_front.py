"""The Pareto front: ties, emptiness, and inputs left alone."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.statistics import pareto
from reports.statistics.pareto import front

Points = list[tuple[float, float]]
some_points = st.lists(
    st.tuples(st.integers(1, 9).map(float), st.integers(1, 9).map(float)), max_size=30
)


def test_examples_in_the_docstring_hold() -> None:
    assert doctest.testmod(pareto).failed == 0


def test_no_points_give_an_empty_front() -> None:
    assert front([], []) == []


def test_one_point_is_its_own_front() -> None:
    assert front([1.0], [1.0]) == [True]


def test_twins_are_both_on_the_front_or_both_off() -> None:
    assert front([1.0, 1.0, 2.0, 2.0], [5.0, 5.0, 4.0, 4.0]) == [True, True, False, False]


def test_a_tie_in_one_objective_is_decided_by_the_other() -> None:
    assert front([1.0, 1.0, 2.0], [5.0, 6.0, 6.0]) == [False, True, False]


def test_inputs_stay_untouched() -> None:
    latency, throughput = [3.0, 1.0, 2.0], [1.0, 2.0, 3.0]
    front(latency, throughput)
    assert (latency, throughput) == ([3.0, 1.0, 2.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("latency", [[1.0], [1.0, float("nan")]])
def test_nonsense_is_refused(latency: list[float]) -> None:
    with pytest.raises(ValueError, match="front"):
        front(latency, [1.0, 2.0])


@given(some_points)
def test_the_definition_holds(points: Points) -> None:
    def dominated(one: tuple[float, float]) -> bool:
        return any(o[0] <= one[0] and o[1] >= one[1] and o != one for o in points)

    marks = front([p[0] for p in points], [p[1] for p in points])
    assert marks == [not dominated(point) for point in points]
