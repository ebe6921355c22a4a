"""The two directions of a relayed connection: buffering and shutdown."""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from collections.abc import Callable

from paretopipe_runtime.relay.line import LEAST_HELD, Line, Piece

_AT_ONCE = 64 * 1024  # bytes per read without a line
_RESET = struct.pack("ii", 1, 0)  # struct linger: close sends RST


class Pair:
    """An accepted and an onward connection, with a line per direction (None: not shaped)."""

    def __init__(
        self, near: socket.socket, far: socket.socket, there: Line | None, back: Line | None
    ) -> None:
        self._socks = near, far
        self.connected = self.closed = False
        self.far = far
        self.flows = (Flow(self, near, far, there), Flow(self, far, near, back))

    def connect(self) -> None:
        """Handle the onward connection's result, passing a refusal back."""
        if self.far.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.break_off()
            return
        self.connected = True
        for flow in self.flows:
            flow.send()

    def end(self) -> None:
        if all(flow.over for flow in self.flows):
            self._close()

    def break_off(self) -> None:
        for sock in self._socks:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._close()

    def _close(self) -> None:
        self.closed = True
        for sock in self._socks:
            sock.close()


class Flow:
    """One direction, from `source` to `sink`, over a line or at once."""

    def __init__(
        self, pair: Pair, source: socket.socket, sink: socket.socket, line: Line | None
    ) -> None:
        self.source, self.sink = source, sink
        self.over = False  # the sink's write side is shut down
        self._pair, self._line = pair, line
        self._piece = line.piece if line else _AT_ONCE
        self._most = line.held if line else LEAST_HELD
        self._ended = False  # end of file or error at the source
        self._held = 0
        self._arrived: deque[Piece] = deque()

    def reads_at(self) -> float:
        """Return when to read next; never while the buffer is full or after the end."""
        if self._ended or self._held >= self._most:
            return float("inf")
        return self._line.admits_at() if self._line else 0.0

    @property
    def waits(self) -> bool:
        return bool(self._arrived)

    def read(self, clock: Callable[[], float] = time.monotonic) -> None:
        if self._pair.closed:
            return
        piece: Piece
        try:
            piece = self.source.recv(self._piece)
        except BlockingIOError:
            return
        except OSError:
            piece = None
        self._ended = not piece
        self._held += len(piece or b"")
        if self._line:
            # Read the clock after recv, which may return bytes that came since select.
            self._line.enter(self, piece, clock())
        else:
            self.arrive(piece)

    def arrive(self, piece: Piece) -> None:
        """Queue a piece that is due, and send."""
        self._arrived.append(piece)
        self.send()

    def send(self) -> None:
        """Send queued pieces until the sink would block."""
        while self._arrived and self._pair.connected and not self._pair.closed:
            piece = self._arrived[0]
            if piece is None:
                self._pair.break_off()
                return
            try:
                sent = self.sink.send(piece) if piece else self._say_end()
            except BlockingIOError:
                return
            except OSError:
                self._pair.break_off()
                return
            self._held -= sent
            if sent < len(piece):
                self._arrived[0] = piece[sent:]
                return
            self._arrived.popleft()

    def _say_end(self) -> int:
        self.sink.shutdown(socket.SHUT_WR)
        self.over = True
        self._pair.end()
        return 0
