"""The relay: one select loop over all connections, until its lease expires."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.relay.asked import Address, Hop, Shaping
from paretopipe_runtime.relay.flow import Line, Pair

LOOK_S = 1.0  # between checks of the lease
MOST_PAIRS = 200  # select() is limited to descriptors below 1024


class Renewed:
    """A lease that must be touched again and again, its age measured on the monotonic clock.

    Raises ``E_LEASE`` where it is missing or expired at the start.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._path, self._seconds = path, seconds
        self._touched = self._look()
        age = time.time() - (self._touched or 0)
        if age > seconds:
            raise ParetoPipeError(
                "E_LEASE",
                f"{path} is missing or was not touched for {seconds:.0f} s, and a relay lives no "
                "longer than its lease — touch it first",
            )
        self._since = time.monotonic() - max(0.0, age)

    def check(self, now: float) -> None:
        """Raise ``E_LEASE`` where it is gone or expired."""
        touched = self._look()
        if touched is not None and touched != self._touched:
            self._touched, self._since = touched, now
        if touched is None or now - self._since > self._seconds:
            raise ParetoPipeError(
                "E_LEASE",
                f"{self._path} is gone or was not touched for {self._seconds:.0f} s, so nobody "
                "relies on this relay any more: its connections are closed — whoever measures has "
                "to renew it",
            )

    def _look(self) -> float | None:
        try:
            return self._path.stat().st_mtime
        except OSError:
            return None


class Relay:
    """All hops' connections; those leaving the shaped host share one line.

    Raises ``E_RELAY`` where it cannot listen.
    """

    def __init__(self, hops: Sequence[Hop], shaping: Shaping) -> None:
        self._out = Line(shaping.delay_s, shaping.rate_mbit)
        self._in = Line(shaping.delay_s, shaping.rate_mbit) if shaping.symmetric else None
        self._pairs: list[Pair] = []
        self._listeners: dict[socket.socket, Hop] = {}
        try:
            for hop in hops:
                self._listeners[_listening(hop)] = hop
        except ParetoPipeError:
            self.close()
            raise

    @property
    def ways(self) -> dict[str, Address]:
        """Listening addresses by hop."""
        return {hop.name: sock.getsockname() for sock, hop in self._listeners.items()}

    def serve(self, lease: Renewed) -> None:
        """Relay until the lease or a signal handler raises."""
        look_at = 0.0
        try:
            while True:
                now = time.monotonic()
                if now >= look_at:
                    lease.check(now)
                    look_at = now + LOOK_S
                self._pass_on(look_at)
        finally:
            self.close()

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()
        for pair in self._pairs:
            if not pair.closed:
                pair.break_off()

    def _pass_on(self, until: float) -> None:
        """Deliver what is due, then wait for and handle the next event."""
        lines = [line for line in (self._out, self._in) if line]
        now = time.monotonic()
        for line in lines:
            line.deliver(now)
        self._pairs = [pair for pair in self._pairs if not pair.closed]
        flows = [flow for pair in self._pairs for flow in pair.flows]
        readers = {flow.source: flow for flow in flows if flow.reads_at() <= now}
        later = (flow.reads_at() for flow in flows if flow.reads_at() > now)
        wake_at = min(until, *(line.next_at() for line in lines), *later)
        senders = {flow.sink: flow for flow in flows if flow.waits}
        callers = {pair.far: pair for pair in self._pairs if not pair.connected}
        listeners = self._listeners if len(self._pairs) < MOST_PAIRS else {}
        readable, writable, _ = select.select(
            [*readers, *listeners], [*senders, *callers], [], max(0.0, wake_at - now)
        )
        for sock in writable:
            if sock in callers:
                callers[sock].connect()
            else:
                senders[sock].send()
        for sock in readable:
            if sock in readers:
                readers[sock].read()
            else:
                self._accept(sock, listeners[sock])

    def _accept(self, listener: socket.socket, hop: Hop) -> None:
        try:
            near, (address, _) = listener.accept()
        except OSError:  # the caller has gone
            return
        far = socket.socket()
        for sock in (near, far):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = (self._out, self._in) if hop.outward else (self._in, self._out)
        pair = Pair(near, far, *lines)
        far.bind((address, 0))  # the target sees the original source address
        if far.connect_ex(hop.target) not in (0, errno.EINPROGRESS):
            pair.break_off()
            return
        self._pairs.append(pair)  # select reports the result as writable


def _listening(hop: Hop) -> socket.socket:
    try:
        listener = socket.create_server(hop.listen, backlog=64)
    except OSError as error:
        where = f"{hop.listen[0]}:{hop.listen[1]}"
        raise ParetoPipeError(
            "E_RELAY",
            f"the hop to {hop.name} cannot listen at {where}: {error.strerror} — does another "
            "relay run, or another program there?",
        ) from error
    listener.setblocking(False)
    return listener
