"""A flood of slow strangers neither locks out peers with the key nor leaks."""

from __future__ import annotations

import statistics

import pytest

from tests.effort import some
from tests.wire import flood, strangers
from tests.wire.conftest import Live
from tests.wire.flood import LIMIT_S, Flooded

ELSEWHERE, HERE = "127.0.66.6", "127.0.0.1"
WAYS = [(HERE, True), (HERE, False), (ELSEWHERE, False), (ELSEWHERE, True)]
TOLERANCE_S = 0.5
ADMITTED_S = 2.0
SLACK_S = 1.5  # of every threshold, for a busy machine


def test_a_stranger_is_borne_for_two_seconds(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    told = borne(live)
    with capsys.disabled():
        print(f"\n{told}")


@pytest.mark.parametrize(("origin", "again"), some(WAYS, 2))
def test_a_peer_gets_in_through_a_flood(
    live: Live, origin: str, again: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    told = through(live, origin, again, 4)
    with capsys.disabled():
        print(f"\n{told}")


def borne(live: Live) -> str:
    """Fill all places with strangers."""
    found = flood.flood(live, 4, ELSEWHERE, 0, again=False, peers=0)
    assert len(found.dropped_s) == 4
    assert found.dropped_s[0] > LIMIT_S - TOLERANCE_S
    assert found.dropped_s[-1] < LIMIT_S + TOLERANCE_S + SLACK_S
    return f"4 strangers that trickle, undisturbed: dropped after {_range(found.dropped_s)} s"


def through(live: Live, origin: str, again: bool, peers: int) -> str:
    """Flood, with peers in it."""
    seconds = 2.0 if peers <= 4 else peers / 4
    before = strangers.Held.settled(live)
    found = flood.flood(live, flood.STRANGERS, origin, seconds, again=again, peers=peers)
    after = strangers.Held.settled(live, before)
    where = "a peer's own address" if origin == HERE else "another address"
    told = (
        f"{flood.STRANGERS} strangers that trickle, from {where}{', again and again' * again}: "
        f"{len(found.admitted_s)} of {peers} peers let in within {_most(found.admitted_s)} s; "
        f"{len(found.dropped_s)} strangers dropped after {_range(found.dropped_s)} s"
    )
    assert found.dropped_s[-1] < LIMIT_S + TOLERANCE_S + SLACK_S, told
    if origin == HERE and again:  # a peer may be refused as one of them, with a message
        assert len(found.admitted_s) >= peers // 2, told
        known = ("E_AUTH", "E_CONNECT")
        assert all(reason.startswith(known) for reason in found.refused), found.refused
    else:
        assert _admitted(found, peers, told)
    assert after.no_more_than(before), told
    assert strangers.unexplained(live.cluster.log("pi1")) == []
    return told


def _admitted(found: Flooded, peers: int, told: str) -> bool:
    assert found.refused == [], told
    assert len(found.admitted_s) == peers, told
    return found.admitted_s[-1] < ADMITTED_S + SLACK_S


def _range(seconds: list[float]) -> str:
    return f"{seconds[0]:.2f} to {seconds[-1]:.2f} (median {statistics.median(seconds):.2f})"


def _most(seconds: list[float]) -> str:
    return f"{seconds[-1]:.2f}" if seconds else "—"
