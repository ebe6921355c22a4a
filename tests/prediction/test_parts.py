"""Compute, transport and pipeline against values computed by hand."""

from __future__ import annotations

import pytest

from paretopipe_runtime.prediction.pipeline import (
    Station,
    corrected,
    latency_s,
    pace_s,
    running_total,
)
from paretopipe_runtime.prediction.transport import Transport, fit
from tests.made import figures as made


def test_the_overhead_of_timing_blocks_alone_is_taken_off_each() -> None:
    # Each of four calls cost 1 ms more; the one that does nothing else shows it.
    found = corrected([0.021, 0.031, 0.001, 0.051], 0.1)
    assert found == pytest.approx([0.02, 0.03, 0.0, 0.05])


def test_what_no_call_can_explain_is_spread_in_proportion() -> None:
    assert corrected([0.02, 0.04, 0.06], 0.06) == pytest.approx([0.0, 0.02, 0.04])
    assert corrected([0.001, 0.1, 0.2], 0.149) == pytest.approx(
        [0.0, 0.149 * 99 / 298, 0.149 * 199 / 298]
    )
    assert corrected([0.1, 0.2], 0.6) == pytest.approx([0.2, 0.4])


def test_without_the_whole_model_blocks_stay_as_they_are() -> None:
    assert corrected([0.1, 0.2], None) == [0.1, 0.2]
    assert corrected([], 0.1) == []
    assert running_total([0.1, 0.2]) == pytest.approx([0.0, 0.1, 0.3])


def test_a_fit_finds_the_line_and_nothing_negative() -> None:
    assert fit([(0, 2.0), (10, 4.0), (30, 8.0)]) == pytest.approx((2.0, 0.2))
    # The line through both would begin below zero: one through zero is left, (1/0.1 + 1/0.11) x
    # over (1/0.1)² + (1/0.11)², as each point counts by its relative error.
    assert fit([(10, 1.0), (100, 11.0)]) == pytest.approx((0.0, 0.104525), rel=1e-5)
    assert fit([(10, 3.0), (100, 1.0)])[1] == 0
    assert fit([(10, 3.0)]) == (3.0, 0.0)
    assert fit([]) == (0.0, 0.0)


def test_a_link_bound_by_processors_occupies_them() -> None:
    fast = Transport.of(made.link(fixed_s=0.001, byte_s=1e-9, rate_mbit=20_000))
    assert fast.fixed_s == pytest.approx(0.001)
    assert fast.byte_s == pytest.approx(1e-9, rel=1e-3)
    assert fast.send_byte_s == fast.receive_byte_s == fast.byte_s
    # At 1 Gbit/s the wire takes 8.4 ns a byte: what the processors do meanwhile cannot be seen.
    slow = Transport.of(made.link(byte_s=8.4e-9, rate_mbit=1000))
    assert slow.send_byte_s == slow.receive_byte_s == 0
    assert slow.pace_byte_s == pytest.approx(8.4e-9, rel=1e-3)


def test_measured_processor_seconds_count_below_a_slow_wire_too() -> None:
    cpu = [(0.0002, 1e-9), (0.0003, 4e-9)]
    found = Transport.of(made.link(byte_s=8.4e-9, rate_mbit=1000, cpu=cpu))
    assert (found.send_s, found.send_byte_s) == pytest.approx((0.0002, 1e-9))
    assert (found.receive_s, found.receive_byte_s) == pytest.approx((0.0003, 4e-9))


def test_half_a_processor_takes_twice_as_long_for_a_second_of_work() -> None:
    cpu = [(0.0002, 1e-9), (0.0003, 4e-9)]
    found = Transport.of(made.link(cpu=cpu), (1.0, 0.5))
    assert (found.send_s, found.send_byte_s) == pytest.approx((0.0002, 1e-9))
    assert (found.receive_s, found.receive_byte_s) == pytest.approx((0.0006, 8e-9))


def test_the_round_trip_of_a_link_is_not_counted_twice() -> None:
    assert Transport.of(made.link(fixed_s=0.001, rtt_ms=200)).fixed_s == pytest.approx(0.001)


def test_the_bottleneck_sets_the_pace() -> None:
    stations = [Station(0.1, 0.12), Station(0.3, 0.3, 0.2), Station(0.05, 0.05)]
    assert latency_s(stations) == pytest.approx(0.65)
    assert pace_s(stations, 4) == pytest.approx(0.3)


def test_a_small_window_shares_a_latency() -> None:
    # Four at 10 ms each, then a wait until the first of them is back after 1.01 s.
    assert pace_s([Station(0.01, 0.01, 1.0)], 4) == pytest.approx(1.01 / 4)
    assert pace_s([Station(0.01, 0.01, 1.0)], 1) == pytest.approx(1.01)


@pytest.mark.parametrize("window", [1, 2, 4, 16])
@pytest.mark.parametrize("delay_s", [0.0, 0.07, 1.3])
@pytest.mark.parametrize("hop_s", [0.01, 0.4])
def test_the_pipeline_agrees_with_a_simulation(window: int, delay_s: float, hop_s: float) -> None:
    stations = [
        Station(0.11, 0.11), Station(hop_s, hop_s, delay_s),
        Station(0.23, 0.23), Station(0.02, 0.02), Station(0.05, 0.05),
    ]  # fmt: skip
    line = [0.11, 0.23, 0.05], [hop_s, 0.02], delay_s
    alone, begun = made.simulated(*line, 10 * window, window)
    _, ended = made.simulated(*line, 40 * window, window)
    assert latency_s(stations) == pytest.approx(alone)
    assert pace_s(stations, window) == pytest.approx((ended - begun) / (30 * window))
