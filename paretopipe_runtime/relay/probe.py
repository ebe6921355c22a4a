"""Measure a path's round-trip time and rate, with the fields of netem's probes.

Both ends are in this process, so every duration is a difference on one clock.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import statistics
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

from paretopipe_runtime.contract.units import WIRE_PER_PAYLOAD
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.relay.asked import Address

PINGS, PING_EVERY_S, PING_NBYTES = 10, 0.05, 64
#: Duration of the rate measurement, and its minimum number of reads on a very slow path.
RATE_S, RATE_PIECES = 1.0, 10
TIMEOUT_S = 30.0
_SENT_AT = struct.Struct("d")
_SOME = bytes(64 * 1024)


def probe(listen: Address, through: Address | None, *, both_ways: bool) -> dict[str, Any]:
    """Measure the path to `listen`, through a relay's hop or direct.

    ``rtt_ms`` is a median, ``spread_ms`` a standard deviation, ``rate_mbit`` counts bytes on the
    wire; ``rate_back_mbit`` is the return direction's, if `both_ways`.

    Raises ``E_PROBE``.
    """
    try:
        with socket.create_server(listen) as server:
            server.settimeout(TIMEOUT_S)
            way = through or server.getsockname()
            with _connected(server, way) as (near, far):
                measured = _pinged(near, far)
            with _connected(server, way) as (near, far):
                measured["rate_mbit"] = _mbit(near, far)
            if both_ways:
                with _connected(server, way) as (near, far):
                    measured["rate_back_mbit"] = _mbit(far, near)
    except OSError as error:
        where = "straight to" if through is None else f"through {through[0]}:{through[1]} to"
        raise ParetoPipeError(
            "E_PROBE",
            f"nothing could be measured {where} {listen[0]}:{listen[1]}: {error.strerror or error} "
            "— does the relay run, with a hop to this very address?",
        ) from error
    return measured


@contextlib.contextmanager
def _connected(
    server: socket.socket, way: Address
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield both ends of a connection, ignoring others' connections."""
    name = secrets.token_bytes(16)
    with socket.create_connection(way, TIMEOUT_S) as near:
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        near.sendall(name)
        while True:
            far, _ = server.accept()
            with far:
                far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                far.settimeout(TIMEOUT_S)
                if far.recv(len(name), socket.MSG_WAITALL) == name:
                    yield near, far
                    return


def _pinged(near: socket.socket, far: socket.socket) -> dict[str, Any]:
    def send() -> None:
        for _ in range(PINGS + 1):
            near.sendall(_SENT_AT.pack(time.monotonic()).ljust(PING_NBYTES))
            time.sleep(PING_EVERY_S)

    def echo() -> None:
        for _ in range(PINGS + 1):
            far.sendall(_whole(far))

    threads = [threading.Thread(target=work, daemon=True) for work in (send, echo)]
    for thread in threads:
        thread.start()
    times = []
    for _ in range(PINGS + 1):
        (sent_at,) = _SENT_AT.unpack_from(_whole(near))
        times.append(1000 * (time.monotonic() - sent_at))
    for thread in threads:
        thread.join()
    warm = times[1:]
    return {
        "rtt_ms": round(statistics.median(warm), 3),
        "spread_ms": round(statistics.pstdev(warm), 3),
        "pings": PINGS,
        "pings_lost": 0,
    }


def _whole(sock: socket.socket) -> bytes:
    message = sock.recv(PING_NBYTES, socket.MSG_WAITALL)
    if len(message) < PING_NBYTES:
        raise ConnectionError("the connection ended")
    return message


def _mbit(source: socket.socket, sink: socket.socket) -> float:
    """Send for a while; return the rate of arrival, from the first read to the last."""

    def send() -> None:
        with contextlib.suppress(OSError):  # ends when the sink shuts down
            while True:
                source.sendall(_SOME)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    buffer = bytearray(len(_SOME))
    nbytes = pieces = 0
    sink.recv_into(buffer)
    began = last = time.monotonic()
    while last - began < RATE_S or pieces < RATE_PIECES:
        nbytes += sink.recv_into(buffer)
        last = time.monotonic()
        pieces += 1
    for sock in (sink, source):
        with contextlib.suppress(OSError):  # the peer's shutdown may have come first
            sock.shutdown(socket.SHUT_RDWR)
    sender.join()
    return round(nbytes * WIRE_PER_PAYLOAD * 8e-6 / (last - began), 3)
