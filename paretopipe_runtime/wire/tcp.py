"""TCP options, kernel deadlines, and the operating system's errors as ours."""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Sequence

from paretopipe_runtime.errors import ParetoPipeError

#: A peer that acknowledges nothing for so long is lost, unless the plan gives it longer.
LOST_S = 30.0
LATE_S = 1.0  # by so much the kernel may end a read or a write after its deadline
_RTT = struct.Struct("@I")
_RTT_AT = 68  # tcpi_rtt in Linux's struct tcp_info, in microseconds
_TIMEVAL = struct.Struct("@ll")
Bytes = bytes | bytearray | memoryview


def tune(sock: socket.socket) -> None:
    """Set what every connection needs: no Nagle delay, keepalives, a user timeout."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
    set_user_timeout(sock, LOST_S)


def set_user_timeout(sock: socket.socket, seconds: float) -> None:
    """Set TCP_USER_TIMEOUT: seconds without acknowledgement until the connection fails.

    Linux applies it to live peers that do not read, too, such as a computing stage: it must
    exceed any batch's time.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * seconds))


def round_trip_s(sock: socket.socket) -> float:
    """Read the kernel's round-trip time of this connection."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT_AT + _RTT.size)
    return float(_RTT.unpack_from(info, _RTT_AT)[0]) / 1e6


def rest(parts: Sequence[Bytes], count: int) -> list[memoryview]:
    """Drop the first `count` bytes."""
    while count >= len(parts[0]):
        count -= len(parts[0])
        parts = parts[1:]
    return [memoryview(parts[0])[count:], *(memoryview(part) for part in parts[1:])]


class Deadlines:
    """A socket's kernel timeouts by direction: SO_RCVTIMEO and SO_SNDTIMEO.

    Python's single timeout would bind both and poll before each read.
    """

    def __init__(self, sock: socket.socket, peer: str) -> None:
        sock.setblocking(True)
        self._sock = sock
        self._peer = peer
        self._limits: dict[int, float] = {}

    def limit(self, option: int, seconds: float) -> None:
        """Limit each read or write to `seconds`."""
        if self._limits.get(option) != seconds:
            whole = int(seconds)
            part = max(int((seconds - whole) * 1e6), 0 if whole else 1)  # zero means no limit
            self._sock.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL.pack(whole, part))
            self._limits[option] = seconds

    def hurry(self, option: int, deadline: float) -> None:
        """Shorten the timeout to the time left: a peer must not trickle."""
        left = deadline - time.monotonic()
        if left < 0:
            raise TimeoutError
        if left + LATE_S < self._limits[option]:
            self.limit(option, left + LATE_S / 2)

    def silent(self, done: int, size: int) -> TimeoutError:
        """Make the error of a read that the limit has ended."""
        waited = self._limits[socket.SO_RCVTIMEO]
        return TimeoutError(f"no byte for {waited:.1f} s at {done}/{size} B")

    def failure(self, doing: str, timeout: float, error: OSError) -> ParetoPipeError:
        """Translate an error of the operating system: E_STALL or E_PEER_LOST."""
        # ETIMEDOUT is a TimeoutError for Python, and the kernel's word that nobody answers.
        if isinstance(error, TimeoutError | BlockingIOError) and error.errno != errno.ETIMEDOUT:
            what = f"not done in {timeout:.1f} s" if error.errno or not error.args else str(error)
            return ParetoPipeError("E_STALL", f"{self._peer}: {doing}: {what}")
        return ParetoPipeError("E_PEER_LOST", f"{self._peer}: {doing}: {error.strerror or error}")
