"""Picks of synthetic sweeps whose truth is known: bounds, and sets of what is not told apart.

See docs/statistics.md for the planted truth.
"""

from __future__ import annotations

import pytest

from tests.campaigns.conftest import Findings
from tests.made import worlds
from tests.statistics import characteristics

SWEEPS, TWICE = 1000, 200
pytestmark = pytest.mark.timeout(3600)


@pytest.mark.parametrize("cv", [0.02, 0.1])
@pytest.mark.parametrize("name", worlds.PAIRINGS)
def test_picks(findings: Findings, name: str, cv: float) -> None:
    found = characteristics.decisions(worlds.PAIRINGS[name], cv, SWEEPS, TWICE)
    hold, again, sizes = (
        " / ".join(form.format(value) for value in values)
        for form, values in (
            ("{:.1%}", found.hold),
            ("{:.1%}", found.again),
            ("{:.1f}", found.sizes),
        )
    )
    findings.add(
        f"{name:<20} CV {cv:>3.0%}: the bound holds in {found.bounded:.1%}; expected loss "
        f"{found.expected:.1%}, true {found.lost:.1%}; the sets of both goals, latency, throughput "
        f"have the best in {hold}, the pick of a second sweep in {again}, of 20 splits {sizes}"
    )
    assert found.bounded >= 0.87
    assert min(found.hold) >= 0.95
