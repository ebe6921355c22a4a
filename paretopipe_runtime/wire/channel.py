"""A connected socket that speaks frames: exact reads, scatter-gather writes, deadlines.

Every operating-system error becomes a `ParetoPipeError` here, at the socket line, and nowhere
else.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import xxhash

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import frames
from paretopipe_runtime.wire.frames import FrameType, Header

MAX_MESSAGE = 4 * 1024 * 1024
#: Bytes that are sent or read, and hashed, at a time: they are in the cache for the second.
PIECE = 1024 * 1024
_DIGEST_SIZE = 8
_IDLE = 24 * 3600.0


class Channel:
    """Frames over one authenticated TCP connection.

    Parameters
    ----------
    sock : socket.socket
        Connected; the handshake is over. The channel owns it from here on.
    peer : str
        Who is at the other end, for error sentences: ``pi2 10.78.0.12``.

    Attributes
    ----------
    payload_sent, payload_received : int
        Tensor payload bytes so far: what a run proves equal to the plan's.
    """

    def __init__(self, sock: socket.socket, peer: str) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.peer = peer
        self.payload_sent = 0
        self.payload_received = 0
        self._sent = 0
        self._received = 0
        self._header = bytearray(frames.HEADER_SIZE)
        self._digest = bytearray(_DIGEST_SIZE)
        self._sending = threading.Lock()  # a stage's sender may report an error while it sends

    def fileno(self) -> int:
        """The socket's descriptor, so that selectors take a channel as it is."""
        return self.sock.fileno()

    def shut(self) -> None:
        """End the connection in both directions: wakes a thread that waits on it."""
        with contextlib.suppress(OSError):  # the peer was faster
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the peer sees the end of the stream."""
        self.sock.close()

    # -- sending ---------------------------------------------------------------------------------

    def begin(
        self,
        kind: FrameType,
        payload: memoryview | bytes = b"",
        *,
        batch_id: int = 0,
        dtype: str | None = None,
        shape: tuple[int, ...] = (),
    ) -> Outgoing:
        """Start a frame straight from `payload`'s own memory; the channel is its until it is sent.

        `payload` is one-dimensional bytes and must not change before the frame is complete.
        """
        self._sending.acquire()
        view = memoryview(payload)
        code = frames.DTYPE_CODES[dtype] if dtype else 0
        now = time.monotonic_ns()
        header = Header(kind, self._sent, len(view), batch_id, code, shape, 0, now)
        return Outgoing(self, header, view)

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
        """Send one frame; `timeout` is for the whole of it."""
        self.begin(kind, payload, batch_id=batch_id, dtype=dtype, shape=shape).complete(timeout)

    def send_message(self, message: dict[str, Any], *, timeout: float) -> None:
        """Send a JSON object."""
        self.send(FrameType.MESSAGE, json.dumps(message).encode(), timeout=timeout)

    def send_error(self, error: ParetoPipeError, *, timeout: float = 5.0) -> None:
        """Tell the peer why this end gives up."""
        text = json.dumps({"code": error.code, "message": error.message[:400]})
        self.send(FrameType.ERROR, text.encode(), timeout=timeout)

    def sent(self, header: Header) -> None:
        """Take note of a frame that is complete, and let the next one begin."""
        self._sent += 1
        if header.type is FrameType.TENSOR:
            self.payload_sent += header.payload_nbytes
        self._sending.release()

    def give_up(self) -> None:
        """Let go of a frame that cannot be completed, so that the reason may still be sent."""
        self._sending.release()

    # -- receiving -------------------------------------------------------------------------------

    def receive_header(self, timeout: float = _IDLE) -> Header:
        """Wait for the next frame and return its checked header; an ERROR frame is raised."""
        with self.os_errors("waiting for a frame", timeout):
            self._read(memoryview(self._header), timeout)
        header = frames.decode(self._header)
        if header.seq != self._received:
            raise ParetoPipeError(
                "E_SEQ", f"{self.peer}: frame {header.seq} came, expected {self._received}"
            )
        self._received += 1
        if header.type is FrameType.ERROR:
            error = self._json(header)
            raise ParetoPipeError(str(error.get("code")), f"{error.get('message')}")
        return header

    def receive_payload(self, header: Header, buffer: memoryview, timeout: float) -> float:
        """Read `header`'s payload into `buffer`, exactly its size, and check its digest.

        Returns
        -------
        float
            Seconds that reading took; computing the digest is not counted.

        Raises
        ------
        ParetoPipeError
            ``E_CHECKSUM`` for a payload that was damaged on the way.
        """
        digest = xxhash.xxh3_64()
        hashing_s = 0.0
        start = time.perf_counter()
        deadline = time.monotonic() + timeout
        with self.os_errors(f"receiving {header.type.name} {header.seq}", timeout):
            done = 0
            while done < len(buffer):
                count = self._read_some(buffer[done : done + PIECE], deadline, done, len(buffer))
                before = time.perf_counter()
                digest.update(buffer[done : done + count])
                hashing_s += time.perf_counter() - before
                done += count
            if len(buffer):
                self._read(memoryview(self._digest), timeout)
        receive_s = time.perf_counter() - start - hashing_s
        if len(buffer) and digest.digest() != self._digest:
            raise ParetoPipeError(
                "E_CHECKSUM",
                f"{self.peer}: payload of frame {header.seq} was damaged on the way — the run is "
                "discarded; suspect the link or the memory of either host",
            )
        if header.type is FrameType.TENSOR:
            self.payload_received += len(buffer)
        return receive_s

    def receive_message(self, timeout: float) -> dict[str, Any]:
        """Return the next frame's JSON object; any other frame is an error."""
        header = self.receive_header(timeout)
        if header.type is not FrameType.MESSAGE:
            raise ParetoPipeError("E_ORDER", f"{self.peer}: {header.type.name} came, not MESSAGE")
        return self._json(header)

    def _json(self, header: Header) -> dict[str, Any]:
        if header.payload_nbytes > MAX_MESSAGE:
            raise ParetoPipeError("E_SIZE", f"{self.peer}: message of {header.payload_nbytes} B")
        buffer = memoryview(bytearray(header.payload_nbytes))
        self.receive_payload(header, buffer, timeout=10.0)
        try:
            message = json.loads(bytes(buffer))
        except ValueError as error:
            raise ParetoPipeError("E_MESSAGE", f"{self.peer}: not JSON: {error}") from error
        if not isinstance(message, dict):
            raise ParetoPipeError("E_MESSAGE", f"{self.peer}: not a JSON object")
        return message

    def _read(self, view: memoryview, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        done = 0
        while done < len(view):
            done += self._read_some(view[done:], deadline, done, len(view))

    def _read_some(self, view: memoryview, deadline: float, done: int, size: int) -> int:
        while True:
            try:
                count = self.sock.recv_into(view)
            except BlockingIOError:
                self.wait(select.POLLIN, deadline)
                continue
            if count == 0:
                raise ParetoPipeError(
                    "E_TRUNC", f"{self.peer} closed the connection at {done}/{size} B"
                )
            return count

    def wait(self, event: int, deadline: float) -> None:
        """Wait for the socket in one direction; a socket's own time-out would bind both."""
        poll = select.poll()
        poll.register(self.sock, event)
        if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
            raise TimeoutError

    @contextlib.contextmanager
    def os_errors(self, doing: str, timeout: float) -> Iterator[None]:
        """Turn what the operating system raises inside into a `ParetoPipeError`."""
        try:
            yield
        except TimeoutError as error:
            raise ParetoPipeError(
                "E_STALL", f"{self.peer}: {doing} not done in {timeout:.1f} s"
            ) from error
        except OSError as error:
            raise ParetoPipeError(
                "E_PEER_LOST", f"{self.peer}: {doing}: {error.strerror or error}"
            ) from error


class Outgoing:
    """A frame on its way out: header, payload piece by piece, digest.

    Any thread may complete it, and nothing else goes out on its channel before it is complete.
    """

    def __init__(self, channel: Channel, header: Header, payload: memoryview) -> None:
        self._channel = channel
        self._header = header
        self._payload = payload
        self._offset = 0
        self._digest = xxhash.xxh3_64()
        self._parts = [memoryview(frames.encode(header))]
        self._next_piece()

    def push(self) -> bool:
        """Hand over what the kernel takes without waiting; return whether that was the rest."""
        with self._sending(0):
            return self._push()

    def complete(self, timeout: float) -> None:
        """Hand over the rest within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._sending(timeout):
            while not self._push():
                self._channel.wait(select.POLLOUT, deadline)

    @contextlib.contextmanager
    def _sending(self, timeout: float) -> Iterator[None]:
        doing = f"sending {self._header.type.name} {self._header.seq}"
        try:
            with self._channel.os_errors(doing, timeout):
                yield
        except ParetoPipeError:
            self._channel.give_up()
            raise

    def _push(self) -> bool:
        while self._parts:
            try:
                count = self._channel.sock.sendmsg(self._parts)
            except BlockingIOError:
                return False
            while self._parts and count >= len(self._parts[0]):
                count -= len(self._parts.pop(0))
            if self._parts:
                self._parts[0] = self._parts[0][count:]
            else:
                self._next_piece()
        self._channel.sent(self._header)
        return True

    def _next_piece(self) -> None:
        piece = self._payload[self._offset : self._offset + PIECE]
        if len(piece):
            self._digest.update(piece)
            self._parts.append(piece)
            self._offset += len(piece)
            if self._offset == len(self._payload):
                self._parts.append(memoryview(self._digest.digest()))
