"""Where the best split changes, against borders computed by hand."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from paretopipe_runtime.prediction.predictor import Predictor
from paretopipe_runtime.prediction.transport import Transport
from reports.objectives import LATENCY, THROUGHPUT
from reports.prediction.best import best, best_by_rate, best_by_rtt
from tests.made import figures as made

GRID = [0.1 * 1.1**step for step in range(100)]


def plain(
    compute: tuple[tuple[float, ...], ...], sizes: tuple[int, ...], **changed: Any
) -> Predictor:
    """Return a predictor without transport of its own."""
    known = {"compute_s": compute, "boundary_bytes": sizes, "transports": (Transport(),), **changed}
    return replace(made.predictor(), **known)


def test_a_slow_link_prefers_the_smaller_tensor() -> None:
    # P1: 1.1 s and 1 MB; P2: 1.5 s and 0.25 MB. Equal where 0.75 MB take 0.4 s.
    predictor = plain(((0.0, 0.9, 1.4, 2.0), (0.0, 0.8, 0.9, 1.0)), (0, 1_000_000, 250_000, 0))
    border = 750_000 * 8 * 1514 / 1448 / 1e6 / 0.4
    found = best_by_rate(predictor, 0.0, GRID, LATENCY)
    assert [cuts for *_, cuts in found] == [(2,), (1,)]
    assert found[0][1] == pytest.approx(border, rel=2e-3)
    assert found[0][1] == found[1][0]
    assert (found[0][0], found[-1][1]) == (GRID[0], GRID[-1])


def test_delay_does_not_change_the_fastest_split_but_the_busiest() -> None:
    # With two in flight a pace is never less than half a latency. P1 is the better balanced
    # (0.5 and 0.5 s), P2 the quicker one (0.6 and 0.1 s): delay takes P1's advantage away.
    predictor = plain(((0.0, 0.5, 0.6, 0.7), (0.0, 0.0, 0.4, 0.5)), (0, 0, 0, 0), window=2)
    assert [cuts for *_, cuts in best_by_rtt(predictor, None, GRID, LATENCY)] == [(2,)]
    found = best_by_rtt(predictor, None, GRID, THROUGHPUT)
    assert [cuts for *_, cuts in found] == [(1,), (2,)]
    # P1 moves two a latency of 1 s + delay, P2 one each 0.6 s: equal at a delay of 0.2 s.
    assert best(predictor, 150, None, THROUGHPUT) == (1,)
    assert best(predictor, 250, None, THROUGHPUT) == (2,)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_looked_at_first_does_not_change_which_split_is_the_busiest(seed: int) -> None:
    source = random.Random(seed)
    # Few different times and sizes: many splits are equally good, and the first of them counts.
    steps = [source.choice([0.0, 0.1, 0.2]) for _ in range(12)]
    compute = tuple(sum(steps[:blocks]) for blocks in range(13))
    sizes = tuple(source.choice([0, 100_000, 1_000_000]) for _ in range(13))
    predictor = plain(
        (compute, compute), sizes, window=source.choice([1, 2, 4]), saturate=source.choice([0, 1])
    )
    for rtt_ms in (0.1, 20.0, 500.0):
        for rate_mbit in (None, 1.0, 100.0):
            busy = {
                cuts: predictor.throughput_img_s(cuts, rtt_ms, rate_mbit)
                for cuts in predictor.splits
            }
            assert best(predictor, rtt_ms, rate_mbit, THROUGHPUT) == max(busy, key=busy.__getitem__)
