"""A shaped link as in netem: queue, transmission at the rate, then the delay; in order.

All connections of a direction share one line. It only computes times.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

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


class Receiver(Protocol):
    """Destination of arrived pieces."""

    def arrive(self, piece: Piece) -> None:
        """Take the next piece."""


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
        self._under_way: deque[tuple[float, Receiver, Piece]] = deque()
        byte_s = self._byte_s or transfer_s(1, _FASTEST_MBIT)
        self.piece = max(_SMALLEST, min(_LARGEST, int(PIECE_S / byte_s)))
        self.held = max(LEAST_HELD, int(2 * (delay_s + AHEAD_S) / byte_s))

    def admits_at(self) -> float:
        """Return when the queue has room."""
        return self._free_at - AHEAD_S

    def enter(self, receiver: Receiver, piece: Piece, now: float) -> None:
        """Queue a piece that was read at `now`."""
        self._free_at = max(now, self._free_at) + len(piece or b"") * self._byte_s
        self._under_way.append((self._free_at + self._delay_s, receiver, piece))

    def next_at(self) -> float:
        """Return the next arrival time, infinite without one."""
        return self._under_way[0][0] if self._under_way else float("inf")

    def deliver(self, now: float) -> None:
        """Hand over the pieces that have arrived by `now`."""
        while self.next_at() <= now:
            _, receiver, piece = self._under_way.popleft()
            receiver.arrive(piece)
