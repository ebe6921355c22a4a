"""The network's arithmetic against values computed by hand."""

from __future__ import annotations

import pytest

from paretopipe_runtime.contract.units import transfer_s
from paretopipe_runtime.prediction import transport


def test_a_payload_takes_its_frames_at_the_rate() -> None:
    # 1,000 segments of 1448 bytes are 1,514,000 bytes of frames: 12.112 Mbit.
    assert transfer_s(1_448_000, 5) == pytest.approx(2.4224)
    assert transfer_s(1_448_000, None) == 0


def test_slow_start_sends_ten_twenty_forty_segments_a_round_trip() -> None:
    # 100 segments after a long pause: 10, 20, 40, and the last 30 in the fourth round. Three round
    # trips are waited for, less the time in which 10, 20 and 40 segments are sent.
    segment_s = 1514 * 8e-6 / 50
    assert transport.slow_start_s(100 * 1448, 0.1, 50, paused_s=60) == pytest.approx(
        0.3 - 70 * segment_s
    )


def test_slow_start_ends_where_the_window_fills_the_round_trip() -> None:
    # At 5 Mbit/s ten segments take 24 ms: a round trip shorter than that never waits.
    assert transport.slow_start_s(10_000_000, 0.020, 5, paused_s=60) == 0
    assert transport.slow_start_s(10_000_000, 0.030, 5, paused_s=60) == pytest.approx(
        0.030 - 0.024224
    )


@pytest.mark.parametrize(("paused_s", "rounds"), [(0.29, 0), (0.31, 1), (0.61, 2), (0.91, 3)])
def test_a_pause_halves_the_window_once_a_time_out(paused_s: float, rounds: int) -> None:
    # The time-out is 0.1 + 0.2 s. 80 segments fit the window before it; then 40 + 40 segments take
    # one more round trip, 20 + 40 + 20 two, and 10 + 20 + 40 + 10 three. No rate: nothing else.
    assert transport.slow_start_s(80 * 1448, 0.1, None, paused_s) == pytest.approx(0.1 * rounds)


def test_more_than_the_window_waits_for_acknowledgements() -> None:
    window_s = transfer_s(transport.WINDOW_BYTES, 1000)
    assert transport.window_s(transport.WINDOW_BYTES, 0.2, 1000) == 0
    assert transport.window_s(transport.WINDOW_BYTES * 3, 0.2, 1000) == pytest.approx(
        2 * (0.2 - window_s)
    )
    assert (
        transport.window_s(transport.WINDOW_BYTES * 3, 0.01, 1000) == 0
    )  # acknowledged before it is full
    assert transport.window_pace_s(transport.WINDOW_BYTES // 2, 0.2) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("megabytes", "paused_s", "seen_s"),
    [
        *((1.0, 0.0, 0.21), (4.4, 0.0, 0.28), (8.2, 0.0, 0.39), (12.8, 0.0, 0.53)),
        *((25.6, 0.0, 1.16), (1.0, 0.55, 0.41), (1.0, 0.9, 0.61), (1.0, 2.7, 1.43)),
    ],
)
def test_tcp_takes_about_as_long_as_it_took(
    megabytes: float, paused_s: float, seen_s: float
) -> None:
    # Linux 6.18, cubic, 200 ms one way, about 1.1 Gbit/s; see docs/prediction.md.
    size = int(megabytes * 1e6)
    found = 0.2 + transfer_s(size, 1100) + transport.window_s(size, 0.2, 1100)
    if paused_s:
        found += transport.slow_start_s(size, 0.2, 1100, paused_s)
    assert found == pytest.approx(seen_s, rel=0.25)
