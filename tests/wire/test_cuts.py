"""A connection cut anywhere is a timely typed error, and the next one is served."""

from __future__ import annotations

import pytest

from tests.wire import cuts, strangers
from tests.wire.bounds import proved
from tests.wire.conftest import Live

NBYTES = 200_000
NEXT_S = 5.0  # a second, and slack for a busy machine
CASES = len(cuts.places(NBYTES)) * 2


def test_what_is_received_may_end_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    told = hearing()
    with capsys.disabled():
        print("", *told, sep="\n")


def test_what_is_sent_may_end_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    told = saying()
    with capsys.disabled():
        print("", *told, sep="\n")


def test_an_agent_serves_the_next_peer(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    told = served(live)
    with capsys.disabled():
        print("", *told, sep="\n")


def hearing() -> list[str]:
    """Cut large payloads, and small ones read with their digest."""
    return [
        _told(f"cuts of what a channel receives, {nbytes:,} B", cuts.received(nbytes))
        for nbytes in (NBYTES, 64)
    ]


def saying() -> list[str]:
    return [_told("cuts of what a channel sends", cuts.sent())]


def served(live: Live) -> list[str]:
    live.session()
    before = strangers.Held.settled(live)
    found, slowest = cuts.at_an_agent(live)
    after = strangers.Held.settled(live, before)
    assert found.findings[:3] == []
    assert found.codes == {"served": 2 * CASES}
    assert slowest < NEXT_S
    assert after.no_more_than(before)
    assert strangers.unexplained(live.cluster.log("pi1")) == []
    left = list((live.cluster.folder / "pi1" / "weights").glob(".*"))
    assert left == [], "a half-received file was kept"
    return [
        proved("cuts of a session with a live agent", len(found.findings), found.trials),
        f"  the next session took at most {slowest:.3f} s",
    ]


def _told(what: str, found: cuts.Cut) -> str:
    codes = ", ".join(f"{count} {code}" for code, count in found.codes.most_common())
    assert found.findings[:3] == []
    assert found.trials == CASES
    line = proved(what, len(found.findings), found.trials)
    return f"{line}\n  {codes}; the slowest after {found.slowest_s:.2f} s"
