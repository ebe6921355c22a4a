"""Connections that have not proved the key yet: few, and a flood keeps nobody out."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass

MAX_PENDING = 4
# So much a peer nearby needs several times over; a queue of 100 strangers is gone in half a second.
GRACE_S = 0.02


@dataclass
class _Place:
    host: str
    since: float
    displaced: bool = False


class Pending:
    """At most `most` connections; when all places are taken, a newcomer displaces one.

    The oldest of the host that has most of them makes way, after `GRACE_S`: strangers displace each
    other, and an honest peer is through before its turn comes.
    """

    def __init__(self, most: int = MAX_PENDING) -> None:
        self._most = most
        self._places: dict[socket.socket, _Place] = {}  # by age
        self._changed = threading.Condition()

    def enter(self, sock: socket.socket, host: str) -> None:
        """Give `sock` a place; wait for the thread that loses one."""
        with self._changed:
            while len(self._places) >= self._most:
                self._changed.wait(self._displace())
            self._places[sock] = _Place(host, time.monotonic())

    def leave(self, sock: socket.socket) -> None:
        """Give the place back: `sock` was authenticated or refused."""
        with self._changed:
            self._places.pop(sock, None)
            self._changed.notify()

    def _displace(self) -> float | None:
        """Displace one; return how long to wait for it, None until it is gone."""
        if any(place.displaced for place in self._places.values()):
            return None
        counts = Counter(place.host for place in self._places.values())
        most = max(counts.values())
        sock, oldest = next(
            (sock, place) for sock, place in self._places.items() if counts[place.host] == most
        )
        left = oldest.since + GRACE_S - time.monotonic()
        if left > 0:
            return left
        oldest.displaced = True
        with contextlib.suppress(OSError):  # the peer was faster
            sock.shutdown(socket.SHUT_RDWR)
        return None
