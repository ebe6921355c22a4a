"""A machine's own scatter: known times lead to a known one."""

from __future__ import annotations

import math

import pytest

from paretopipe_runtime.worker.noise import figures

FAST, SLOW = 0.01 * math.exp(-0.05), 0.01 * math.exp(0.05)


def test_what_lasts_scatters_the_sums_and_what_alternates_does_not() -> None:
    lasting = figures(([FAST] * 50 + [SLOW] * 50) * 5 + [9.0] * 9)  # the rest makes no whole sum
    assert lasting["pieces"] == 509
    assert lasting["scatter"] == pytest.approx(0.05 * math.sqrt(10 / 9))
    assert lasting["sum_s"] == pytest.approx(50 * 0.01 * math.cosh(0.05))

    alternating = figures([FAST, SLOW] * 250)
    assert alternating["scatter"] == pytest.approx(0, abs=1e-9)
    assert alternating["piece_scatter"] == pytest.approx(0.05 * math.sqrt(500 / 499))
    assert alternating["piece_s"] == pytest.approx(0.01 * math.cosh(0.05))
