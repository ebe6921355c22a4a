"""F7 and F9: over links that lose, reset, stall or crawl all bytes arrive, or both ends tell."""

from __future__ import annotations

import functools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import frames, tcp
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import FrameType, Header
from tests import namespaces
from tests.effort import some
from tests.namespaces import BLACKHOLE, LOSS, RESET, damaged, slow
from tests.wire.pairs import tcp_pair

MIB = 1024 * 1024
LATE_S = 3.0  # two seconds, and slack for a busy machine

needs_namespace = namespaces.needed("ip", "tc", "nft")
TYPED = {"E_STALL", "E_PEER_LOST", "E_TRUNC"}


@pytest.fixture
def network() -> Iterator[None]:
    with namespaces.own_network():
        yield


def in_time(outcome: Outcome, deadline_s: float) -> bool:
    """Check that each end has all bytes or a typed error soon after its deadline."""
    codes = {outcome.sender, outcome.receiver}
    return codes <= {"equal", *TYPED} and (
        max(outcome.sender_s, outcome.receiver_s) < deadline_s + LATE_S
    )


@needs_namespace
@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("percent", [5, 30])
def test_a_lossy_link_delivers_or_says_so(percent: int) -> None:
    outcome = transfer(2 * MIB, 1, 20, fault=functools.partial(damaged, LOSS.format(percent)))
    assert in_time(outcome, 20), outcome
    if percent == 5:
        assert outcome.receiver == "equal", outcome


@needs_namespace
@pytest.mark.usefixtures("network")
def test_a_reset_is_told_at_once() -> None:
    with slow("20mbit"):
        fault = functools.partial(damaged, RESET)
        outcome = transfer(8 * MIB, 2, 5, fault=fault, after_s=0.5)
    assert outcome.sender == "E_PEER_LOST", outcome
    assert outcome.sender_s < 1 + LATE_S, outcome
    assert outcome.receiver in TYPED  # it notices only when sending
    assert in_time(outcome, 5), outcome


@needs_namespace
@pytest.mark.usefixtures("network")
def test_a_link_that_goes_silent_is_told_by_both_ends() -> None:
    with slow("20mbit"):
        fault = functools.partial(damaged, BLACKHOLE)
        outcome = transfer(8 * MIB, 3, 4, fault=fault, after_s=0.5)
    assert (outcome.sender, outcome.receiver) == ("E_STALL", "E_STALL"), outcome
    assert in_time(outcome, 4), outcome


@needs_namespace
@pytest.mark.usefixtures("network")
def test_the_kernel_tells_of_a_peer_that_acknowledges_nothing() -> None:
    with slow("20mbit"):
        fault = functools.partial(damaged, BLACKHOLE)
        outcome = transfer(8 * MIB, 4, 6, lost_s=2, fault=fault, after_s=0.5)
    assert outcome.sender == "E_PEER_LOST", outcome
    assert outcome.sender_s < 2 + 1 + LATE_S, outcome  # within two, before its deadline
    assert outcome.receiver == "E_STALL", outcome


@needs_namespace
@pytest.mark.usefixtures("network")
def test_a_short_silence_is_overcome() -> None:
    with slow("20mbit"):
        fault = functools.partial(damaged, BLACKHOLE)
        outcome = transfer(4 * MIB, 5, 30, fault=fault, after_s=0.5, for_s=1.5)
    assert (outcome.sender, outcome.receiver) == ("equal", "equal"), outcome


@needs_namespace
@pytest.mark.usefixtures("network")
def test_a_slow_link_is_no_fault() -> None:
    nbytes, rate_mbit = 2 * MIB, 5
    deadline_s = 5 + 2 * nbytes * 8e-6 / rate_mbit  # as a plan has it
    with slow(f"{rate_mbit}mbit"):
        outcome = transfer(nbytes, 6, deadline_s)
    assert (outcome.sender, outcome.receiver) == ("equal", "equal"), outcome
    assert outcome.receiver_s > 0.8 * nbytes * 8e-6 / rate_mbit, "the link was not slow"


@pytest.mark.parametrize("sent", some([96 + 700_000, 40, 96], 1))
def test_a_frozen_peer_is_told_in_time(sent: int) -> None:
    code, took_s = frozen(sent, MIB, 2)
    assert code == "E_STALL"
    assert took_s < 2 + LATE_S


def test_a_stage_that_computes_for_long_does_not_lose_its_link() -> None:
    patient = transfer(16 * MIB, 7, 30, lost_s=20, reading_from_s=3)
    assert (patient.sender, patient.receiver) == ("equal", "equal"), patient
    # Linux counts a peer that does not read as one that does not answer: hence the long timeout.
    assert transfer(16 * MIB, 7, 30, lost_s=1, reading_from_s=3).sender == "E_PEER_LOST"


def test_every_connection_has_what_notices_a_dead_peer() -> None:
    one, other = tcp_pair()
    with one, other:
        tcp.tune(one)
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        tcp.set_user_timeout(one, 185.5)
        assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 185_500
        assert 0 < tcp.round_trip_s(one) < 1


@dataclass(frozen=True)
class Outcome:
    """Each end's result (``equal``, ``different`` or a code) and seconds.

    The receiver's seconds count from the header, if one came.
    """

    sender: str
    receiver: str
    sender_s: float
    receiver_s: float


def transfer(
    nbytes: int,
    seed: int,
    deadline_s: float,
    *,
    lost_s: float | None = None,
    fault: Callable[[], AbstractContextManager[None]] = nullcontext,
    after_s: float = 0,
    for_s: float | None = None,
    reading_from_s: float = 0,
) -> Outcome:
    """Send one tensor over TCP; `fault` holds from `after_s` on, to the end or for `for_s`.

    Parameters
    ----------
    lost_s : float, optional
        The sender's TCP_USER_TIMEOUT, instead of the usual.
    reading_from_s : float
        Start of the receiver's reading.
    """
    left, right = tcp_pair()
    for sock in (left, right):
        tcp.tune(sock)
    if lost_s is not None:
        tcp.set_user_timeout(left, lost_s)
    sender, receiver = Channel(left, "receiver"), Channel(right, "sender")
    payload = np.random.default_rng(seed).integers(0, 256, nbytes, dtype=np.uint8)
    buffer = bytearray(nbytes)
    ended: dict[str, tuple[str, float]] = {}
    began = time.monotonic()
    heard: list[float] = []

    def send() -> None:
        form = {"dtype": "uint8", "shape": (nbytes,)}
        sender.send(FrameType.TENSOR, payload.data, timeout=deadline_s, **form)  # type: ignore[arg-type]

    def receive() -> None:
        time.sleep(reading_from_s)
        header = receiver.receive_header(deadline_s)
        heard.append(time.monotonic())  # the payload's deadline starts here
        receiver.receive_payload(header, memoryview(buffer), deadline_s)

    def run(name: str, act: Callable[[], None]) -> None:
        try:
            act()
            code = "equal"
        except ParetoPipeError as error:
            code = error.code
        since = heard[0] if heard and name == "receiver" else began
        ended[name] = code, time.monotonic() - since

    threads = [
        threading.Thread(target=run, args=("sender", send)),
        threading.Thread(target=run, args=("receiver", receive)),
    ]
    for thread in threads:
        thread.start()
    time.sleep(after_s)
    with fault():
        if for_s is None:
            for thread in threads:
                thread.join(deadline_s + 60)
        else:
            time.sleep(for_s)
    for thread in threads:
        thread.join(deadline_s + 60)
        assert not thread.is_alive()
    for channel in (sender, receiver):
        channel.shut()
        channel.close()
    (one, one_s), (two, two_s) = ended["sender"], ended["receiver"]
    if two == "equal" and bytes(buffer) != payload.tobytes():
        two = "different"
    return Outcome(one, two, one_s, two_s)


def frozen(sent_nbytes: int, of_nbytes: int, deadline_s: float) -> tuple[str, float]:
    """Receive from a process stopped within a payload; return code and seconds.

    Its kernel still acknowledges: no keepalive or TCP_USER_TIMEOUT notices.
    """
    ours, theirs = tcp_pair()
    for sock in (ours, theirs):
        tcp.tune(sock)
        tcp.set_user_timeout(sock, deadline_s / 2)
    header = Header(FrameType.BLOB, 0, of_nbytes)
    first = (frames.encode(header) + bytes(of_nbytes))[:sent_nbytes]
    command = [sys.executable, "-c", _FREEZES, str(theirs.fileno())]
    peer = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.PIPE)
    theirs.close()
    channel = Channel(ours, "peer")
    try:
        assert peer.stdin is not None
        peer.stdin.write(first)
        peer.stdin.close()
        while Path(f"/proc/{peer.pid}/stat").read_text().split()[2] != "T":
            time.sleep(0.01)
        began = time.monotonic()
        try:
            head = channel.receive_header(deadline_s)
            channel.receive_payload(head, memoryview(bytearray(of_nbytes)), deadline_s)
            code = "equal"
        except ParetoPipeError as error:
            code = error.code
        return code, time.monotonic() - began
    finally:
        peer.kill()
        peer.wait(10)
        channel.close()


_FREEZES = """
import os, signal, socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
sock.sendall(sys.stdin.buffer.read())
os.kill(os.getpid(), signal.SIGSTOP)
"""
