"""Send frames without blocking, completing partial writes within a deadline."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import xxhash

from paretopipe_runtime.contract.codecs import CODECS, NONE
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import frames
from paretopipe_runtime.wire.frames import PIECE, SMALL, FrameType, Header
from paretopipe_runtime.wire.tcp import Bytes, Deadlines, rest


class Sender:
    """A connection's outgoing half; `payload_nbytes` counts tensor bytes.

    One frame at a time: another, from any thread, waits until it is complete or failed.
    """

    def __init__(self, sock: socket.socket, deadlines: Deadlines) -> None:
        self._sock = sock
        self._deadlines = deadlines
        self._sending = threading.Lock()  # a stage's sender may report an error while it sends
        self._sent = 0
        self.payload_nbytes = 0
        self._form: tuple[Any, ...] = ()  # of the frame sent last, and its header
        self._header = bytearray()
        # What is left of the frame on its way: what goes next, and what is lined up then.
        self._parts: list[Bytes] = []
        self._pieces: Iterator[list[Bytes]] = iter(())

    def offer(
        self,
        kind: FrameType,
        payload: memoryview | bytes = b"",
        *,
        batch_id: int = 0,
        dtype: str | None = None,
        shape: tuple[int, ...] = (),
        codec: str = NONE,
        wait_s: float = -1,
    ) -> bool:
        """Send what the kernel takes without waiting; return whether that is all.

        If not, any thread may `complete` it. `payload` is not copied and must not change
        until then. Another thread's frame is waited for, `wait_s` at most if it is not negative.
        """
        if not self._sending.acquire(timeout=wait_s):
            doing = f"waiting to send {kind.name}"
            raise self._deadlines.failure(doing, wait_s, TimeoutError("the frame before it stays"))
        header = self._encode(kind, len(payload), batch_id, dtype, shape, codec)
        if len(payload) > SMALL:
            self._pieces = _pieces(header, memoryview(payload))
            self._parts = next(self._pieces)
        elif payload:  # a single call, as most frames of a run are worth it
            self._parts = [header, payload, xxhash.xxh3_64_digest(payload)]
        else:
            self._parts = [header]
        try:
            self._push(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._failed(0, error) from error
        return True

    def complete(self, timeout: float) -> None:
        """Send the rest of the frame that was offered."""
        try:
            self._deadlines.limit(socket.SO_SNDTIMEO, timeout)
            self._push(0, time.monotonic() + timeout)
        except OSError as error:
            raise self._failed(timeout, error) from error

    def send(
        self,
        kind: FrameType,
        payload: memoryview | bytes = b"",
        *,
        batch_id: int = 0,
        dtype: str | None = None,
        shape: tuple[int, ...] = (),
        timeout: float,
    ) -> None:
        """Send one frame; `timeout` is for the whole of it, and for another thread's before it."""
        if not self.offer(
            kind, payload, batch_id=batch_id, dtype=dtype, shape=shape, wait_s=timeout
        ):
            self.complete(timeout)

    def send_message(self, message: dict[str, Any], *, timeout: float) -> None:
        self.send(FrameType.MESSAGE, json.dumps(message).encode(), timeout=timeout)

    def send_error(self, error: ParetoPipeError, *, timeout: float = 5.0) -> None:
        """Tell the peer why this end gives up."""
        self.send(FrameType.ERROR, frames.error_payload(error), timeout=timeout)

    def _push(self, flags: int, deadline: float | None = None) -> None:
        while True:
            count = self._sock.sendmsg(self._parts, (), flags)
            if count < sum(map(len, self._parts)):
                self._parts = [*rest(self._parts, count)]
            else:
                self._parts = next(self._pieces, [])
                if not self._parts:
                    break
            if deadline:
                self._deadlines.hurry(socket.SO_SNDTIMEO, deadline)
        self._sent += 1
        if self._form[0] is FrameType.TENSOR:
            self.payload_nbytes += self._form[1]
        self._sending.release()

    def _failed(self, timeout: float, error: OSError) -> ParetoPipeError:
        """Drop the frame, so that the reason can still be sent."""
        doing = f"sending {self._form[0].name} {self._sent}"
        self._parts, self._pieces = [], iter(())
        self._sending.release()
        return self._deadlines.failure(doing, timeout, error)

    def _encode(
        self,
        kind: FrameType,
        nbytes: int,
        batch_id: int,
        dtype: str | None,
        shape: tuple[int, ...],
        codec: str,
    ) -> bytearray:
        """Make the next header, renumbering the last if alike."""
        form = (kind, nbytes, dtype, shape, codec)
        if form == self._form:
            frames.renumber(self._header, self._sent, batch_id)
        else:
            code = frames.DTYPE_CODES[dtype] if dtype else 0
            number = CODECS[codec].number
            header = Header(kind, self._sent, nbytes, batch_id, code, shape, number)
            self._form, self._header = form, bytearray(frames.encode(header))
        return self._header


def _pieces(header: Bytes, payload: memoryview) -> Iterator[list[Bytes]]:
    """Cut a large frame, hashing each piece when sent, still cached."""
    digest = xxhash.xxh3_64()
    before: list[Bytes] = [header]
    for offset in range(0, len(payload), PIECE):
        piece = payload[offset : offset + PIECE]
        yield [*before, piece]
        digest.update(piece)
        before = []
    yield [digest.digest()]
