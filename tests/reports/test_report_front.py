"""The Pareto front: ties, emptiness, unchanged inputs."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.statistics import judge
from reports.statistics.judge import front

AIMS = [False, True]  # less latency, more throughput
Points = list[tuple[float, float]]
some_points = st.lists(
    st.tuples(st.integers(1, 9).map(float), st.integers(1, 9).map(float)), max_size=30
)


def test_examples_in_the_docstring_hold() -> None:
    assert doctest.testmod(judge).failed == 0


def test_no_points_give_an_empty_front() -> None:
    assert front([], AIMS) == []


def test_one_point_is_its_own_front() -> None:
    assert front([(1.0, 1.0)], AIMS) == [True]


def test_twins_are_both_on_the_front_or_both_off() -> None:
    points = [(1.0, 5.0), (1.0, 5.0), (2.0, 4.0), (2.0, 4.0)]
    assert front(points, AIMS) == [True, True, False, False]


def test_a_tie_in_one_objective_is_decided_by_the_other() -> None:
    assert front([(1.0, 5.0), (1.0, 6.0), (2.0, 6.0)], AIMS) == [False, True, False]


def test_a_third_objective_keeps_what_the_first_two_would_not() -> None:
    points = [(1.0, 6.0, 9.0), (2.0, 5.0, 8.0), (3.0, 4.0, 9.5)]
    assert front(points, [*AIMS, False]) == [True, True, False]


def test_inputs_stay_untouched() -> None:
    points = [[3.0, 1.0], [1.0, 2.0], [2.0, 3.0]]
    front(points, AIMS)
    assert points == [[3.0, 1.0], [1.0, 2.0], [2.0, 3.0]]


@pytest.mark.parametrize("points", [[(1.0,)], [(1.0, float("nan"))], [(1.0, 2.0), (1.0,)]])
def test_nonsense_is_refused(points: list[tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match="front"):
        front(points, AIMS)


@given(some_points)
def test_the_definition_holds(points: Points) -> None:
    def dominated(one: tuple[float, float]) -> bool:
        return any(o[0] <= one[0] and o[1] >= one[1] and o != one for o in points)

    marks = front(points, AIMS)
    assert marks == [not dominated(point) for point in points]
