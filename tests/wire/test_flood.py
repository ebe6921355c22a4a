"""F6: strangers that send a byte a second neither lock out peers with the key nor leak."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import time
from dataclasses import dataclass

import pytest

from paretopipe_runtime.wire import handshake
from tests.effort import some
from tests.wire import mutate, strangers
from tests.wire.conftest import Live

ELSEWHERE, HERE = "127.0.66.6", "127.0.0.1"
WAYS = [(HERE, True), (HERE, False), (ELSEWHERE, False), (ELSEWHERE, True)]
TOLERANCE_S = 0.5
ADMITTED_S = 2.0
SLACK_S = 1.5  # of every threshold, for a busy machine
STRANGERS = 64


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
    found = flood(live, 4, ELSEWHERE, 0, again=False, peers=0)
    assert len(found.dropped_s) == 4
    assert found.dropped_s[0] > LIMIT_S - TOLERANCE_S
    assert found.dropped_s[-1] < LIMIT_S + TOLERANCE_S + SLACK_S
    return f"4 strangers that trickle, undisturbed: dropped after {_range(found.dropped_s)} s"


def through(live: Live, origin: str, again: bool, peers: int) -> str:
    """Flood, with peers in it."""
    seconds = 2.0 if peers <= 4 else peers / 4
    before = strangers.Held.settled(live)
    found = flood(live, STRANGERS, origin, seconds, again=again, peers=peers)
    after = strangers.Held.settled(live, before)
    where = "a peer's own address" if origin == HERE else "another address"
    told = (
        f"{STRANGERS} strangers that trickle, from {where}{', again and again' * again}: "
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


@dataclass(frozen=True)
class Flooded:
    """Seconds until each stranger was dropped, and until each peer was admitted."""

    dropped_s: list[float]
    admitted_s: list[float]
    refused: list[str]


def flood(
    live: Live, strangers: int, origin: str, seconds: float, *, again: bool, peers: int
) -> Flooded:
    """Let `strangers` from `origin` trickle for `seconds`, with `again` reconnecting when dropped.

    Meanwhile `peers` sessions come from the host's usual address.
    """
    return asyncio.run(_flood(live, strangers, origin, seconds, again, peers))


async def _flood(
    live: Live, strangers: int, origin: str, seconds: float, again: bool, peers: int
) -> Flooded:
    until = time.monotonic() + seconds
    dropped: list[float] = []

    async def stranger() -> None:
        while True:
            dropped.append(await _trickle(live.address, origin))
            if not again or time.monotonic() > until:
                return

    tasks = [asyncio.create_task(stranger()) for _ in range(strangers)]
    await asyncio.sleep(0.05)
    admitted, refused = [], []
    for _ in range(peers):
        began = time.monotonic()
        try:
            await asyncio.to_thread(live.session)
            admitted.append(time.monotonic() - began)
        except Exception as error:
            refused.append(str(error))
        await asyncio.sleep(max(seconds / peers - (time.monotonic() - began), 0))
    await asyncio.gather(*tasks)
    return Flooded(sorted(dropped), sorted(admitted), refused)


async def _trickle(address: tuple[str, int], origin: str) -> float:
    """Send a valid start, a byte a second; return seconds until dropped."""
    began = time.monotonic()
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(*address, local_addr=(origin, 0))
        began = time.monotonic()
        gone = asyncio.create_task(reader.read(1))
        with contextlib.suppress(OSError):
            for byte in mutate.good_preamble():
                writer.write(bytes([byte]))
                done, _ = await asyncio.wait([gone], timeout=1)
                if done:
                    break
            else:
                await asyncio.wait([gone], timeout=5)
            gone.exception() if gone.done() else gone.cancel()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return time.monotonic() - began


def address_of(sock: socket.socket) -> str:
    return str(sock.getsockname()[0])


LIMIT_S = handshake.LIMIT_S
