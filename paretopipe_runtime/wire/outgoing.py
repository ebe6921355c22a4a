"""A frame on its way out: handed to the kernel as far as it takes it, the rest later."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import xxhash

from paretopipe_runtime.wire.frames import FrameType

if TYPE_CHECKING:
    from paretopipe_runtime.wire.channel import Channel

# A larger payload is sent or read, and hashed, piece by piece: a piece is in the cache for the
# second, and the other end is busy meanwhile.
PIECE = 1024 * 1024


def rest(views: list[memoryview], count: int) -> list[memoryview]:
    """What is left of `views` after their first `count` bytes."""
    while count >= len(views[0]):
        count -= len(views[0])
        views = views[1:]
    return [views[0][count:], *views[1:]]


class Outgoing:
    """What is left of a frame on its way out; any thread may complete it.

    Parameters
    ----------
    channel : Channel
    kind : FrameType
    payload_nbytes : int
    parts : list of memoryview
        What goes first.
    payload : memoryview, optional
        What goes then, piece by piece, its digest behind it.
    """

    def __init__(
        self,
        channel: Channel,
        kind: FrameType,
        payload_nbytes: int,
        parts: list[memoryview],
        payload: memoryview | None = None,
    ) -> None:
        self._channel = channel
        self._kind = kind
        self._payload_nbytes = payload_nbytes
        self._parts = parts
        self._payload = payload
        self._digest = xxhash.xxh3_64()
        self._offset = 0
        self._piece = memoryview(b"")
        if payload:
            self._next_part()

    def push(self) -> bool:
        """Hand over what the kernel takes without waiting; return whether that was the rest."""
        try:
            self._send(socket.MSG_DONTWAIT, None)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._channel.unsent(self._kind, 0, error) from error
        return True

    def complete(self, timeout: float) -> None:
        """Hand over the rest within `timeout` seconds."""
        try:
            self._channel.limit(socket.SO_SNDTIMEO, timeout)
            self._send(0, time.monotonic() + timeout)
        except OSError as error:
            raise self._channel.unsent(self._kind, timeout, error) from error

    def _send(self, flags: int, deadline: float | None) -> None:
        while self._parts:
            count = self._channel.sock.sendmsg(self._parts, (), flags)
            if count < sum(map(len, self._parts)):
                self._parts = rest(self._parts, count)
            else:
                self._parts = []
                self._next_part()
            if deadline and self._parts:
                self._channel.hurry(socket.SO_SNDTIMEO, deadline)
        self._channel.sent(self._kind, self._payload_nbytes)

    def _next_part(self) -> None:
        """Line up the next piece of the payload; behind the last one the digest; then nothing."""
        if self._payload is None:
            return
        self._digest.update(self._piece)
        self._piece = self._payload[self._offset : self._offset + PIECE]
        self._offset += len(self._piece)
        if len(self._piece):
            self._parts.append(self._piece)
        else:
            self._parts.append(memoryview(self._digest.digest()))
            self._payload = None
