"""Receive frames: exact reads within deadlines, checked before they are believed."""

from __future__ import annotations

import socket
import time
from typing import Any

import xxhash

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import frames, strict, tcp
from paretopipe_runtime.wire.frames import PIECE, SMALL, FrameType, Header
from paretopipe_runtime.wire.tcp import Deadlines

MESSAGE_DEPTH = 16
# Within a frame a peer that lives is not silent for longer, however slow the link: a transfer that
# may take minutes is given up long before.
SILENCE_S = 30.0
_DIGEST_SIZE = 8
_IDLE_S = 24 * 3600.0


class Receiver:
    """One connection's incoming half; `payload_nbytes` counts tensor bytes."""

    def __init__(self, sock: socket.socket, deadlines: Deadlines, peer: str) -> None:
        self._sock = sock
        self._deadlines = deadlines
        self._peer = peer
        self._received = 0
        self.payload_nbytes = 0
        self._header = bytearray(frames.HEADER_SIZE)
        self._digest = bytearray(_DIGEST_SIZE)
        self._header_view, self._digest_view = memoryview(self._header), memoryview(self._digest)

    def receive_header(self, timeout: float = _IDLE_S) -> Header:
        """Wait for the next frame's header and check it; raise an ERROR frame."""
        began = time.monotonic()
        try:
            self._deadlines.limit(socket.SO_RCVTIMEO, timeout)
            count = self._sock.recv_into(self._header)
            if count != frames.HEADER_SIZE:
                left = began + timeout - time.monotonic()
                self._read([self._header_view], count, max(left, tcp.LATE_S))
        except OSError as error:
            raise self._deadlines.failure("waiting for a frame", timeout, error) from error
        header = frames.decode(self._header)
        if header.seq != self._received:
            raise ParetoPipeError(
                "E_SEQ", f"{self._peer}: frame {header.seq} came, expected {self._received}"
            )
        self._received += 1
        if header.type is FrameType.ERROR:
            raise frames.read_error(self._json(header), self._peer)
        return header

    def receive_payload(self, header: Header, buffer: memoryview, timeout: float) -> float:
        """Read a payload into `buffer`, exactly its size, and check its digest (``E_CHECKSUM``).

        Returns the seconds that reading took, without the digest.
        """
        if not len(buffer):
            return 0.0
        start = time.perf_counter()
        try:
            if len(buffer) <= SMALL:
                views = [buffer, self._digest_view]
                count = self._take(views)
                if count != len(buffer) + _DIGEST_SIZE:
                    self._read(views, count, timeout)
                receive_s = time.perf_counter() - start
                digest = xxhash.xxh3_64_digest(buffer)
            else:
                hashing_s, digest = self._read_by_piece(buffer, timeout)
                receive_s = time.perf_counter() - start - hashing_s
        except OSError as error:
            raise self._deadlines.failure(
                f"receiving {header.type.name} {header.seq}", timeout, error
            ) from error
        if digest != self._digest:
            raise ParetoPipeError(
                "E_CHECKSUM",
                f"{self._peer}: payload of frame {header.seq} was damaged on the way — the run is "
                "discarded; suspect the link or the memory of either host",
            )
        if header.type is FrameType.TENSOR:
            self.payload_nbytes += len(buffer)
        return receive_s

    def receive_message(self, timeout: float) -> dict[str, Any]:
        """Return the next frame's JSON object, refusing any other frame."""
        header = self.receive_header(timeout)
        if header.type is not FrameType.MESSAGE:
            raise ParetoPipeError("E_ORDER", f"{self._peer}: {header.type.name} came, not MESSAGE")
        return self._json(header)

    def _json(self, header: Header) -> dict[str, Any]:
        buffer = memoryview(bytearray(header.payload_nbytes))
        self.receive_payload(header, buffer, timeout=10.0)
        try:
            return strict.parse_object(bytes(buffer), depth=MESSAGE_DEPTH)
        except ValueError as error:
            raise ParetoPipeError(
                "E_MESSAGE", f"{self._peer}: {header.type.name} {header.seq} is {error}"
            ) from error

    def _read_by_piece(self, buffer: memoryview, timeout: float) -> tuple[float, bytes]:
        """Read a long payload, hashing pieces in the cache; return seconds, digest."""
        deadline = time.monotonic() + timeout
        hash_so_far = xxhash.xxh3_64()
        hashing_s = 0.0
        done = 0
        self._deadlines.limit(socket.SO_RCVTIMEO, min(timeout, SILENCE_S))
        while done < len(buffer):
            try:
                count = self._sock.recv_into(buffer[done : done + PIECE])
            except BlockingIOError as error:
                raise self._deadlines.silent(done, len(buffer)) from error
            self._check_read(count, done, len(buffer), deadline)
            before = time.perf_counter()
            hash_so_far.update(buffer[done : done + count])
            hashing_s += time.perf_counter() - before
            done += count
        self._read([self._digest_view], None, max(deadline - time.monotonic(), tcp.LATE_S))
        return hashing_s, hash_so_far.digest()

    def _take(self, views: list[memoryview]) -> int | None:
        """Read what is there already; None where nothing is."""
        try:
            return self._sock.recvmsg_into(views, 0, socket.MSG_DONTWAIT)[0]
        except BlockingIOError:
            return None

    def _read(self, views: list[memoryview], count: int | None, timeout: float) -> None:
        """Fill `views` in turn; `count` bytes are in them already, 0 means the end."""
        deadline = time.monotonic() + timeout
        size = sum(map(len, views))
        done = 0
        self._deadlines.limit(socket.SO_RCVTIMEO, min(timeout, SILENCE_S))
        while True:
            if count is not None:
                self._check_read(count, done, size, deadline)
                done += count
                if done == size:
                    return
                views = tcp.rest(views, count)
            try:
                count = self._sock.recvmsg_into(views)[0]
            except BlockingIOError as error:
                raise self._deadlines.silent(done, size) from error

    def _check_read(self, count: int, done: int, size: int, deadline: float) -> None:
        if count == 0:
            raise ParetoPipeError(
                "E_TRUNC", f"{self._peer} closed the connection at {done}/{size} B"
            )
        if done + count < size:
            self._deadlines.hurry(socket.SO_RCVTIMEO, deadline)
