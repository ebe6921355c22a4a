"""Measure the network between hosts: pings, and seconds of TCP.

    python3 - measure '{"source": …, "port": …, "peers": […], "pings": {…}, "rates": {…}}'
    python3 - serve ADDRESS PORT

The shaped host measures and prints JSON by peer; each peer serves. Standard library of Python 3.8,
and `ping`.

A rate is the receiver's, by its clock, after slow start. Nothing is sent at the end, where it would
queue behind data on a slow link.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

#: Seconds to retry while the server starts.
PATIENCE_S, AGAIN_S = 10.0, 0.1
#: Timeout in seconds of either end.
SILENCE_S = 20.0
BLOCK = 262_144
LONGEST_S, LONGEST_LINE = 60, 256


def ping(source: str, peer: str, pings: dict[str, Any]) -> str:
    count = ("-c", str(pings["number"]), "-i", str(pings["every_s"]), "-W", "5")
    words = ["ping", "-n", *count, "-I", source, peer]
    try:
        return subprocess.run(words, stdout=-1, stderr=-2, text=True, check=False).stdout
    except OSError as error:
        return f"{error.strerror}: ping"


def receive(connection: socket.socket, omit_s: float, seconds: float) -> float:
    """Return the bit/s received in so many seconds, after `omit_s`."""
    buffer = memoryview(bytearray(BLOCK))
    began = opened = closed = None
    count = 0
    while closed is None:
        got = connection.recv_into(buffer)
        now = time.monotonic()
        if not got:
            raise ConnectionError("the connection ended in the midst of it")
        began = now if began is None else began
        if opened is not None:
            count += got
            closed = now if now - opened >= seconds else None
        elif now - began >= omit_s:
            opened = now
    assert opened is not None
    return 8 * count / (closed - opened)


def send(connection: socket.socket) -> bytes:
    """Send until the other end says something, and return it."""
    block = bytes(BLOCK)
    connection.setblocking(False)
    while True:
        readable, writable, _ = select.select([connection], [connection], [], SILENCE_S)
        if readable:
            said = connection.recv(LONGEST_LINE)
            if not said:
                raise ConnectionError("the connection ended in the midst of it")
            return said
        if not writable:
            raise TimeoutError(f"nothing moved for {SILENCE_S:.0f} s")
        with suppress(BlockingIOError):
            connection.send(block)


def limit(connection: socket.socket, window: int) -> None:
    """Limit bytes in flight; 0 leaves it to TCP."""
    if window:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, window)


def part(connection: socket.socket) -> None:
    """Close at once, dropping data in flight."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def rate(source: str, peer: str, port: int, told: dict[str, Any]) -> dict[str, Any]:
    """Return the bit/s of TCP to the peer, with `back` from it, or an error."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection = socket.create_connection((peer, port), SILENCE_S, (source, 0))
            # On its own host TCP may connect a port to itself.
            if connection.getsockname() != connection.getpeername():
                break
            part(connection)
        except OSError as error:
            if time.monotonic() > deadline:
                return {"error": f"{error.strerror or error}"}
            time.sleep(AGAIN_S)
    try:
        limit(connection, told["window"])
        connection.sendall(json.dumps(told).encode() + b"\n")
        if told["back"]:
            return {"bit_s": receive(connection, told["omit_s"], told["seconds"])}
        return {"bit_s": float(json.loads(send(connection)))}
    except (OSError, TypeError, ValueError) as error:
        return {"error": f"the rate probe there gave up: {error}"}
    finally:
        part(connection)


def measure(asked: dict[str, Any]) -> dict[str, Any]:
    """Return each peer's ping output and rates.

    Sequential, for they share a link; pings first, before its queue fills.
    """
    source, port, peers = asked["source"], asked["port"], asked["peers"]
    pinged = {peer["host"]: ping(source, peer["address"], asked["pings"]) for peer in peers}
    return {
        peer["host"]: {
            "pinged": pinged[peer["host"]],
            "rates": {
                name: rate(source, peer["address"], port, told)
                for name, told in asked["rates"].items()
            },
        }
        for peer in peers
    }


def answer(connection: socket.socket) -> None:
    line = b""
    while not line.endswith(b"\n") and len(line) < LONGEST_LINE:
        line += connection.recv(1) or b"\n"
    told = json.loads(line)
    omit_s, seconds = (min(LONGEST_S, float(told[name])) for name in ("omit_s", "seconds"))
    if told["back"]:
        limit(connection, int(told["window"]))
        send(connection)
    else:
        connection.sendall(json.dumps(receive(connection, omit_s, seconds)).encode())
        # Drain incoming data: closing before it would lose the answer.
        connection.settimeout(SILENCE_S)
        while connection.recv(BLOCK):
            pass


def serve(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family) as server:
        while True:
            connection, _ = server.accept()
            connection.settimeout(SILENCE_S)
            with suppress(OSError, ValueError, KeyError, TypeError):
                answer(connection)
            part(connection)


if __name__ == "__main__":
    if sys.argv[1] == "measure":
        print(json.dumps(measure(json.loads(sys.argv[2]))))
    else:
        serve(sys.argv[2], int(sys.argv[3]))
