"""Picks: right for known truth, as sure as they say, and silent without evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reports.data.cells import Cell
from reports.objectives import LATENCY, THROUGHPUT
from reports.statistics.decision import ALONE, decided, whichever
from tests.made import worlds
from tests.statistics import characteristics


def told(values: list[tuple[float, float]], cv: float = 0.01, rounds: int = 5) -> Cell:
    """Return a cell of splits 1, 2, … with these true latencies and throughputs."""
    rng = np.random.default_rng(1)
    return worlds.cell(worlds.runs(rng, np.log(np.array(values)), cv, rounds, slow=0.0))


CLEAR = [(1.0, 10.0), (1.1, 19.0), (1.5, 20.0), (3.0, 5.0), (4.0, 4.0)]


def test_clear_splits_are_told_apart_and_the_pick_is_between_the_goals() -> None:
    found = decided(told(CLEAR))
    assert found is not None
    assert (found.both.pick, found.both.tied) == ((2,), ((2,),))
    assert found.both.expected == pytest.approx(0.1, abs=0.03)
    assert found.both.bound is not None
    assert found.both.expected < found.both.bound < 0.15
    assert found.worse is LATENCY
    assert found.of(LATENCY).tied == ((1,),)
    assert found.of(THROUGHPUT).pick == (3,)
    assert not found.reason
    assert next(iter(found.expected)) == (2,)


def test_what_does_not_differ_is_tied_and_says_what_would_tell() -> None:
    found = decided(told([(1.0, 10.0), (1.01, 10.1), (1.0, 9.9), (1.0, 10.0), (3.0, 2.0)], 0.05))
    assert found is not None
    assert set(found.of(LATENCY).tied) == {(1,), (2,), (3,), (4,)}
    # 2 (2.8 * 0.05 / 0.02)^2, as runs scatter by 5 % and 2 % matter.
    assert 20 < (found.of(LATENCY).needed or 0) < 200


def test_the_same_runs_give_the_same_decision() -> None:
    assert decided(told(CLEAR, 0.05)) == decided(told(CLEAR, 0.05))


def test_one_run_of_each_has_no_bound_and_rules_out_only_what_is_far() -> None:
    found = decided(told(CLEAR, rounds=1))
    assert found is not None
    assert found.reason.startswith("one run of each split")
    assert found.both.bound is None
    assert found.both.needed is None
    assert set(found.of(LATENCY).tied) == {(1,), (2,), (3,)}, f"{ALONE:.0%} is far"


def test_two_runs_of_two_splits_are_too_few() -> None:
    found = decided(told(CLEAR[:2], rounds=2))
    assert found is not None
    assert (found.reason[:12], found.both.bound) == ("too few runs", None)


def test_a_single_split_and_none() -> None:
    found = decided(told(CLEAR[:1]))
    assert found is not None
    assert (found.both.pick, found.both.tied, found.both.expected) == ((1,), ((1,),), 0.0)
    assert decided(replace(told(CLEAR), splits=())) is None


def test_an_unknown_network_takes_what_loses_least_at_worst() -> None:
    near, far = (
        told([(1.0, 9.0), (1.1, 9.0), (2.0, 9.0)]),
        told([(9.0, 1.0), (3.0, 1.0), (2.5, 1.0)]),
    )
    found = whichever([near, far], LATENCY)
    assert found is not None
    assert found.pick == (2,)
    assert found.expected == pytest.approx(0.2, abs=0.05)
    assert whichever([near], LATENCY) is None


@pytest.mark.parametrize("cv", [0.02, 0.1])
def test_bounds_and_sets_hold_as_often_as_they_say(cv: float) -> None:
    found = characteristics.decisions(
        worlds.PAIRINGS["Pi to Pi, slow link"], cv, 16, 16, missing=0.05
    )
    assert found.bounded >= 0.7
    assert min(found.hold) >= 0.8
    assert min(found.again) >= 0.8
    assert found.expected == pytest.approx(found.lost, rel=0.5)
