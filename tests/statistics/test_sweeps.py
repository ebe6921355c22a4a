"""Two sweeps of the same cells: noise is not called a change, a tenth is, and doubt is said."""

from __future__ import annotations

import numpy as np
import pytest

from reports.objectives import LATENCY, OBJECTIVES
from reports.statistics.difference import Difference
from reports.statistics.sweeps import CHANGED, OPEN, SAME, SMALL, Pair, verdict
from tests.made import figures, worlds
from tests.statistics import characteristics


@pytest.mark.parametrize("shift", [0.0, 0.01])
def test_two_sweeps_of_one_truth_rarely_call_anything_changed(shift: float) -> None:
    found = characteristics.swept(0.02, 30, shift=shift)
    assert found.falsely <= 0.1
    assert found.said[SAME] >= 0.9


def test_a_tenth_more_at_one_split_is_found_and_nothing_else() -> None:
    found = characteristics.swept(0.02, 12, ratio=1.1)
    assert found.found >= 0.9
    assert found.falsely <= 0.1


def test_where_noise_could_hide_a_tenth_nobody_can_tell() -> None:
    found = characteristics.swept(0.08, 3)
    assert found.said[OPEN] >= 0.95


@pytest.mark.parametrize(
    ("low", "ratio", "high", "expected"),
    [
        (1.01, 1.05, 1.09, CHANGED),
        (0.92, 0.95, 0.99, CHANGED),
        (0.95, 1.0, 1.05, SAME),
        (1.005, 1.01, 1.015, SMALL),
        (0.95, 1.07, 1.2, OPEN),
        (0.85, 0.95, 1.05, OPEN),
        (None, 1.3, None, OPEN),
    ],
)
def test_the_words(low: float | None, ratio: float, high: float | None, expected: str) -> None:
    assert verdict(Difference(ratio, low, high, "undecided"), 0.02) == expected


def test_one_run_each_tells_nothing() -> None:
    rng = np.random.default_rng(3)
    true = worlds.truth(rng, worlds.PAIRINGS["Pi to Pi"], 4)
    pair = Pair.of(*(worlds.cell(worlds.runs(rng, true, 0.01, rounds=1)) for _ in range(2)))
    found = pair.changes(LATENCY, 0.02, pair.size)
    assert {*found.verdicts} == {OPEN}
    assert found.visible is None


def test_a_release_that_is_slower_everywhere_shows_in_all_splits_together() -> None:
    """No split alone would do: each is within its own noise."""
    rng = np.random.default_rng(5)
    true = worlds.truth(rng, worlds.PAIRINGS["Pi to Pi"])
    sides = (true, true + np.log(1.05) * np.array([1, -1]))
    pair = Pair.of(*(worlds.cell(worlds.runs(rng, side, 0.02, drift=0.002)) for side in sides))
    found = pair.changes(LATENCY, 0.02, pair.size)
    assert verdict(found.together, 0.02) == CHANGED
    assert found.together.ratio == pytest.approx(1.05, abs=0.01)
    assert found.verdicts.count(CHANGED) < 10


def test_only_splits_of_both_with_as_many_batches_are_compared() -> None:
    spreads = {one.figure: figures.spread(1.0) for one in OBJECTIVES}
    old = figures.cell([figures.split(f"P{k}", (k,), spreads) for k in (1, 2, 3)])
    fewer = figures.split("P2", (2,), spreads, phases=("2", "5", "8"))
    new = figures.cell([fewer, *(figures.split(f"P{k}", (k,), spreads) for k in (3, 4))])
    assert [*Pair.of(old, new).splits] == [(3,)]
