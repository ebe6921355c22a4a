"""The line's arithmetic, by a clock that the tests turn; and what a flow holds at most."""

from __future__ import annotations

import contextlib
import random
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretopipe_runtime.contract.units import WIRE_PER_PAYLOAD
from paretopipe_runtime.relay.flow import AHEAD_S, Line, Pair, Piece

MBIT = 8.0
MIB = 2**20
BYTE_S = WIRE_PER_PAYLOAD * 1e-6  # at that rate


class Taken:
    """What arrived, in order."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []

    def arrive(self, piece: Piece) -> None:
        self.pieces.append(piece)


@given(
    delay_ms=st.integers(0, 300),
    came=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 5000)), min_size=1, max_size=30),
)
def test_bytes_leave_in_order_after_the_delay_and_no_faster_than_the_rate(
    delay_ms: int, came: list[tuple[int, int]]
) -> None:
    line, taken = Line(delay_ms / 1000, MBIT), Taken()
    now = free_at = 0.0
    due = []
    for number, (wait_ms, nbytes) in enumerate(came):
        now += wait_ms / 1000
        line.enter(taken, bytes([number]) * nbytes, now)
        free_at = max(now, free_at) + nbytes * BYTE_S
        due.append(free_at + delay_ms / 1000)
    for number, at in enumerate(due):
        assert line.next_at() == pytest.approx(at)
        line.deliver(at - 1e-6)
        assert len(taken.pieces) == number
        line.deliver(at + 1e-6)
        assert taken.pieces[-1] == bytes([number]) * came[number][1]
    assert line.next_at() == float("inf")


def test_connections_share_one_wire() -> None:
    line, one, other = Line(0.1, MBIT), Taken(), Taken()
    line.enter(one, bytes(10_000), 0.0)
    line.enter(other, b"x", 0.0)
    line.deliver(0.1 + 10_000 * BYTE_S)
    assert (len(one.pieces), other.pieces) == (1, [])
    line.deliver(0.1 + 10_001 * BYTE_S + 1e-9)
    assert other.pieces == [b"x"]


def test_a_small_message_waits_for_no_more_than_what_is_taken_in_ahead() -> None:
    """However much another connection has to say: it is read no further until the wire is free."""
    line, bulk, small = Line(0.05, MBIT), Taken(), Taken()
    while line.admits_at() <= 1.0:
        line.enter(bulk, bytes(line.piece), 1.0)
    line.enter(small, b"x", 1.0)
    line.deliver(1.0 + AHEAD_S + (line.piece + 1) * BYTE_S + 0.05 + 1e-9)
    assert small.pieces == [b"x"]


def test_without_a_rate_all_is_sent_at_once() -> None:
    line, taken = Line(0.2, None), Taken()
    line.enter(taken, bytes(10_000_000), 5.0)
    assert line.admits_at() <= 5.0
    assert line.next_at() == 5.2


class Counting(Line):
    """A line that knows how many bytes it was given."""

    nbytes = 0

    def enter(self, receiver: object, piece: Piece, now: float) -> None:
        self.nbytes += len(piece or b"")
        super().enter(receiver, piece, now)  # type: ignore[arg-type]


@pytest.mark.parametrize(("delay_s", "mbit"), [(0.2, 5.0), (0.02, 50.0), (0.01, None)])
def test_a_peer_that_does_not_read_is_read_for_no_further_than_the_bound(
    delay_s: float, mbit: float | None
) -> None:
    said = random.Random(1).randbytes(MIB)  # over and over
    (speaker, near), (far, silent) = socket.socketpair(), socket.socketpair()
    for sock in (speaker, near, far, silent):
        sock.setblocking(False)
    line = Counting(delay_s, mbit)
    pair = Pair(near, far, line, None)
    pair.connected = True
    flow, now, place = pair.flows[0], 0.0, 0
    with speaker, silent, near, far:
        while flow.reads_at() < float("inf"):
            with contextlib.suppress(BlockingIOError):
                while True:
                    place += speaker.send(said[place % MIB :][:65536])
            now = max(now, flow.reads_at())
            line.deliver(now)
            flow.read(lambda: now)  # noqa: B023 # read at once
            assert line.nbytes < 10 * line.held, "it would never end"
        # What the far socket's own buffer has taken is not held any more.
        passed = line.nbytes - line.held
        assert 0 <= passed <= line.piece + 2 * far.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        under_way = (delay_s + AHEAD_S) * (mbit or 1000) * 1e6 / 8 / WIRE_PER_PAYLOAD
        assert line.held <= max(256 * 1024, 2 * under_way)
        # Once it reads, it has every byte once, however little it took at a time.
        heard = bytearray()
        while len(heard) < line.nbytes:
            line.deliver(now + 60)
            flow.send()
            heard += silent.recv(50_000)
        assert bytes(heard) == (said * (len(heard) // MIB + 1))[: len(heard)]
        assert flow.reads_at() < float("inf")
