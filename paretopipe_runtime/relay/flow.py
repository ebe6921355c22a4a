"""A connection's two directions: what was read, what waits to be sent, and how each ends."""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from collections.abc import Callable

from paretopipe_runtime.relay.line import LEAST_HELD, Line, Piece

_AT_ONCE = 64 * 1024  # most that is read where no line says how much
_RESET = struct.pack("ii", 1, 0)  # struct linger: no farewell, so that the peer sees it broke off


class Pair:
    """A connection that came to a hop, and the one that passes it on.

    `there` and `back` are the lines of its directions, None where one is not shaped.
    """

    def __init__(
        self, near: socket.socket, far: socket.socket, there: Line | None, back: Line | None
    ) -> None:
        self._socks = near, far
        self.connected = self.closed = False
        self.far = far
        self.flows = (Flow(self, near, far, there), Flow(self, far, near, back))

    def connect(self) -> None:
        """Note how the far end has answered; where it refused, so is the near one."""
        if self.far.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.break_off()
            return
        self.connected = True
        for flow in self.flows:
            flow.send()

    def end(self) -> None:
        """Close, once both directions have ended."""
        if all(flow.over for flow in self.flows):
            self._close()

    def break_off(self) -> None:
        """Close at once, as a peer that is gone does."""
        for sock in self._socks:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._close()

    def _close(self) -> None:
        self.closed = True
        for sock in self._socks:
            sock.close()


class Flow:
    """One direction: from `source` to `sink`, over a line or, without one, at once."""

    def __init__(
        self, pair: Pair, source: socket.socket, sink: socket.socket, line: Line | None
    ) -> None:
        self.source, self.sink = source, sink
        self.over = False  # the sink was told that nothing more comes
        self._pair, self._line = pair, line
        self._piece = line.piece if line else _AT_ONCE
        self._most = line.held if line else LEAST_HELD
        self._ended = False  # the source has nothing more to say
        self._held = 0
        self._arrived: deque[Piece] = deque()

    def reads_at(self) -> float:
        """When to read on; never, where enough is held or all was read."""
        if self._ended or self._held >= self._most:
            return float("inf")
        return self._line.admits_at() if self._line else 0.0

    @property
    def waits(self) -> bool:
        """Whether something has arrived that the sink has not taken."""
        return bool(self._arrived)

    def read(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take one piece from the source."""
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
            # Looked at only now: more may have come since it was seen that there is something.
            self._line.enter(self, piece, clock())
        else:
            self.arrive(piece)

    def arrive(self, piece: Piece) -> None:
        """Send a piece that is due, after all that came before it."""
        self._arrived.append(piece)
        self.send()

    def send(self) -> None:
        """Send what has arrived, as far as the sink takes it."""
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
