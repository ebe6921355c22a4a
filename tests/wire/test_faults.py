"""Over any link the same bytes arrive, or both ends report in time."""

from __future__ import annotations

import functools
import socket
from collections.abc import Iterator

import pytest

from paretopipe_runtime.wire import tcp
from tests.effort import some
from tests.wire import faults, namespace
from tests.wire.faults import Outcome, transfer
from tests.wire.namespace import BLACKHOLE, LOSS, RESET, damaged, slow

MIB = 1024 * 1024
LATE_S = 3.0  # two seconds, and slack for a busy machine

needs_namespace = pytest.mark.skipif(
    namespace.missing() is not None, reason=namespace.missing() or "nothing"
)


@pytest.fixture
def network() -> Iterator[None]:
    with namespace.own_network():
        yield


def in_time(outcome: Outcome, deadline_s: float) -> bool:
    """Check that each end has all bytes or a typed error soon after its deadline."""
    codes = {outcome.sender, outcome.receiver}
    return codes <= {"equal", *faults.TYPED} and (
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
    assert outcome.receiver in faults.TYPED  # it notices only when sending
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
    code, took_s = faults.frozen(sent, MIB, 2)
    assert code == "E_STALL"
    assert took_s < 2 + LATE_S


def test_a_stage_that_computes_for_long_does_not_lose_its_link() -> None:
    patient = transfer(16 * MIB, 7, 30, lost_s=20, reading_from_s=3)
    assert (patient.sender, patient.receiver) == ("equal", "equal"), patient
    # Linux counts a peer that does not read as one that does not answer: hence the long timeout.
    assert transfer(16 * MIB, 7, 30, lost_s=1, reading_from_s=3).sender == "E_PEER_LOST"


def test_every_connection_has_what_notices_a_dead_peer() -> None:
    one, other = faults.tcp_pair()
    with one, other:
        tcp.tune(one)
        assert one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        tcp.set_user_timeout(one, 185.5)
        assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 185_500
        assert 0 < tcp.round_trip_s(one) < 1
