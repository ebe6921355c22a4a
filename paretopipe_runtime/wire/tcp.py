"""What every TCP connection of ours is set to, and what the kernel knows of it."""

from __future__ import annotations

import socket
import struct

#: A peer that acknowledges nothing for so long is lost, unless the plan gives it longer.
LOST_S = 30.0
_RTT = struct.Struct("@I")
_RTT_AT = 68  # tcpi_rtt in Linux's struct tcp_info, in microseconds


def tune(sock: socket.socket) -> None:
    """Set what every connection needs: no Nagle delay, and a dead peer is noticed."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
    bear(sock, LOST_S)


def bear(sock: socket.socket, seconds: float) -> None:
    """Let the peer take nothing for so long before the connection counts as lost.

    Linux ends a connection after this also where the peer lives but does not read, as a stage does
    that computes: so it has to be longer than any batch may take there.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * seconds))


def round_trip_s(sock: socket.socket) -> float:
    """Return the round-trip time as the kernel has measured it on this connection."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT_AT + _RTT.size)
    return float(_RTT.unpack_from(info, _RTT_AT)[0]) / 1e6
