"""A shaped link as in netem, and the two directions of a relayed connection over it.

Queue, transmission at the rate, then the delay; in order. All connections of a direction share one
line, which only computes times.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from collections.abc import Callable

from paretopipe_runtime.contract.units import transfer_s

#: Data; empty at the end of a stream, None after an error.
Piece = bytes | None

#: Send queue in seconds: longer than the scheduler may suspend this process, so that the wire does
#: not idle, but short, because small messages queue behind it.
AHEAD_S = 0.02
#: Transmission time of a piece, and so the largest delay error of a message's start.
PIECE_S = 0.002
_SMALLEST, _LARGEST = 1448, 64 * 1024
#: Minimum buffer per connection, in bytes.
LEAST_HELD = 256 * 1024
_FASTEST_MBIT = 1000.0  # assumed for buffer sizes where there is no rate limit
_AT_ONCE = 64 * 1024  # bytes per read without a line
_RESET = struct.pack("ii", 1, 0)  # struct linger: close sends RST


class Line:
    """One direction's link.

    Attributes
    ----------
    piece : int
        Largest read in bytes, so that connections take turns.
    held : int
        Buffer per connection in bytes: twice the bandwidth-delay product.
    """

    def __init__(self, delay_s: float, rate_mbit: float | None) -> None:
        self._delay_s = delay_s
        self._byte_s = transfer_s(1, rate_mbit)
        self._free_at = 0.0  # when the queue will have been transmitted
        self._under_way: deque[tuple[float, Flow, Piece]] = deque()
        byte_s = self._byte_s or transfer_s(1, _FASTEST_MBIT)
        self.piece = max(_SMALLEST, min(_LARGEST, int(PIECE_S / byte_s)))
        self.held = max(LEAST_HELD, int(2 * (delay_s + AHEAD_S) / byte_s))

    def admits_at(self) -> float:
        """Return when the queue has room."""
        return self._free_at - AHEAD_S

    def enter(self, flow: Flow, piece: Piece, now: float) -> None:
        """Queue a piece that was read at `now`."""
        self._free_at = max(now, self._free_at) + len(piece or b"") * self._byte_s
        self._under_way.append((self._free_at + self._delay_s, flow, piece))

    def next_at(self) -> float:
        """Return the next arrival time, infinite without one."""
        return self._under_way[0][0] if self._under_way else float("inf")

    def deliver(self, now: float) -> None:
        """Hand over the pieces that have arrived by `now`."""
        while self.next_at() <= now:
            _, flow, piece = self._under_way.popleft()
            flow.arrive(piece)


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
