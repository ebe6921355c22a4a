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
        """Send one frame straight from `payload`'s own memory; `timeout` is for the whole frame."""
        view = memoryview(payload).cast("B") if payload else memoryview(b"")
        digest = xxhash.xxh3_64_intdigest(view)
        code = frames.DTYPE_CODES[dtype] if dtype else 0
        with self._sending, self._os_errors(f"sending {kind.name} {self._sent}", timeout):
            now = time.monotonic_ns()
            header = Header(kind, self._sent, len(view), digest, batch_id, code, shape, 0, now)
            parts = [memoryview(frames.encode(header)), view]
            self._write(parts if len(view) else parts[:1], timeout)
            self._sent += 1
            if kind is FrameType.TENSOR:
                self.payload_sent += len(view)

    def send_message(self, message: dict[str, Any], *, timeout: float) -> None:
        """Send a JSON object."""
        self.send(FrameType.MESSAGE, json.dumps(message).encode(), timeout=timeout)

    def send_error(self, error: ParetoPipeError, *, timeout: float = 5.0) -> None:
        """Tell the peer why this end gives up."""
        text = json.dumps({"code": error.code, "message": error.message[:400]})
        self.send(FrameType.ERROR, text.encode(), timeout=timeout)

    def _write(self, parts: list[memoryview], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while parts:
            try:
                sent = self.sock.sendmsg(parts)
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)
                continue
            while parts and sent >= len(parts[0]):
                sent -= len(parts.pop(0))
            if parts:
                parts[0] = parts[0][sent:]

    # -- receiving -------------------------------------------------------------------------------

    def receive_header(self, timeout: float = _IDLE) -> Header:
        """Wait for the next frame and return its checked header; an ERROR frame is raised."""
        with self._os_errors("waiting for a frame", timeout):
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

    def receive_payload(self, header: Header, buffer: memoryview, timeout: float) -> None:
        """Read `header`'s payload into `buffer`, which must have exactly its size."""
        with self._os_errors(f"receiving {header.type.name} {header.seq}", timeout):
            self._read(buffer, timeout)
        if header.type is FrameType.TENSOR:
            self.payload_received += len(buffer)

    def check_digest(self, header: Header, buffer: memoryview) -> None:
        """Compare the payload's xxh3 with the header's: apart from reading, to keep it untimed."""
        if xxhash.xxh3_64_intdigest(buffer) != header.digest:
            raise ParetoPipeError(
                "E_CHECKSUM",
                f"{self.peer}: payload of frame {header.seq} was damaged on the way — the run is "
                "discarded; suspect the link or the memory of either host",
            )

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
        self.check_digest(header, buffer)
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
            try:
                count = self.sock.recv_into(view[done:])
            except BlockingIOError:
                self._wait(select.POLLIN, deadline)
                continue
            if count == 0:
                raise ParetoPipeError(
                    "E_TRUNC", f"{self.peer} closed the connection at {done}/{len(view)} B"
                )
            done += count

    def _wait(self, event: int, deadline: float) -> None:
        """Wait for the socket in one direction; a socket's own time-out would bind both."""
        poll = select.poll()
        poll.register(self.sock, event)
        if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
            raise TimeoutError

    @contextlib.contextmanager
    def _os_errors(self, doing: str, timeout: float) -> Iterator[None]:
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
