"""Connections that have not proved the key yet: few, and a flood of them keeps nobody out."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter

MAX_PENDING = 4


class Pending:
    """At most `most` connections; a newcomer takes the place of one when all are taken.

    The oldest of the host that has most of them makes way: strangers displace each other, and a
    peer that needs a round trip to prove itself is through before its turn comes.
    """

    def __init__(self, most: int = MAX_PENDING) -> None:
        self._most = most
        self._hosts: dict[socket.socket, str] = {}  # by age
        self._displaced: set[socket.socket] = set()
        self._changed = threading.Condition()

    def enter(self, sock: socket.socket, host: str) -> None:
        """Give `sock` a place; waits for the thread that loses one, which wakes at once."""
        with self._changed:
            while len(self._hosts) >= self._most:
                self._displace()
                self._changed.wait()
            self._hosts[sock] = host

    def leave(self, sock: socket.socket) -> None:
        """Give the place of `sock` back: it has proved the key, or was refused."""
        with self._changed:
            self._hosts.pop(sock, None)
            self._displaced.discard(sock)
            self._changed.notify()

    def _displace(self) -> None:
        if self._displaced:  # one is on its way out
            return
        counts = Counter(self._hosts.values())
        most = max(counts.values())
        oldest = next(sock for sock, host in self._hosts.items() if counts[host] == most)
        self._displaced.add(oldest)
        with contextlib.suppress(OSError):  # the peer was faster
            oldest.shutdown(socket.SHUT_RDWR)
