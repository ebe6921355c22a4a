"""F6: strangers that send a byte a second, among peers with the key."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from dataclasses import dataclass

from paretopipe_runtime.wire import handshake
from tests.wire import mutate
from tests.wire.conftest import Live

STRANGERS = 64


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
