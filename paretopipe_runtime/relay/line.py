"""A line: what enters leaves it in order, after the delay, and no faster than the rate.

As netem has it on an interface: bytes wait for the wire, take their time on it, and are then under
way for the delay. All connections of a direction share one line. Only time is decided here.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from paretopipe_runtime.contract.units import transfer_s

#: Bytes; none of them is the end of a stream, None that it broke off.
Piece = bytes | None

#: How far ahead of the wire bytes are taken in: longer than this process is kept waiting for a
#: processor, or the wire would run dry, and no longer, for a small message waits behind them.
AHEAD_S = 0.02
#: What a piece takes on the wire, about: so much late at most are the first bytes of a message.
PIECE_S = 0.002
_SMALLEST, _LARGEST = 1448, 64 * 1024
#: Bytes to hold for one connection, at least, before it is read no further.
LEAST_HELD = 256 * 1024
_FASTEST_MBIT = 1000.0  # what a line without a rate is taken for where memory is concerned


class Receiver(Protocol):
    """Where pieces go when they have arrived."""

    def arrive(self, piece: Piece) -> None:
        """Take the next piece."""


class Line:
    """One direction's wire.

    Attributes
    ----------
    piece : int
        The most bytes to take in at once, so that each connection has its turn.
    held : int
        The most bytes to hold for one connection: twice what can be under way.
    """

    def __init__(self, delay_s: float, rate_mbit: float | None) -> None:
        self._delay_s = delay_s
        self._byte_s = transfer_s(1, rate_mbit)
        self._free_at = 0.0  # when all that entered has left for the other end
        self._under_way: deque[tuple[float, Receiver, Piece]] = deque()
        byte_s = self._byte_s or transfer_s(1, _FASTEST_MBIT)
        self.piece = max(_SMALLEST, min(_LARGEST, int(PIECE_S / byte_s)))
        self.held = max(LEAST_HELD, int(2 * (delay_s + AHEAD_S) / byte_s))

    def admits_at(self) -> float:
        """When the wire takes more."""
        return self._free_at - AHEAD_S

    def enter(self, receiver: Receiver, piece: Piece, now: float) -> None:
        """Take in what was read at `now`."""
        self._free_at = max(now, self._free_at) + len(piece or b"") * self._byte_s
        self._under_way.append((self._free_at + self._delay_s, receiver, piece))

    def next_at(self) -> float:
        """When the next piece arrives; never, where nothing is under way."""
        return self._under_way[0][0] if self._under_way else float("inf")

    def deliver(self, now: float) -> None:
        """Hand over every piece that has arrived by `now`."""
        while self.next_at() <= now:
            _, receiver, piece = self._under_way.popleft()
            receiver.arrive(piece)
