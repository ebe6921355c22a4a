"""A relay as it is started: what goes through it, how it ends, and what it refuses."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from paretopipe_runtime.cli import main
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.relay.serve import Renewed
from tests.relay.conftest import HOP, OTHER, SHAPED, Started, started

Serve = Callable[..., tuple[str, int]]
DELAY_S = 0.05
HOPS = ["--from", f"pi1={HOP}:0={SHAPED}:9", "--towards", f"pi2={HOP}:0={OTHER}:9"]


def echo(sock: socket.socket) -> None:
    while heard := sock.recv(65536):
        sock.sendall(heard)


def connected(relay: Started, name: str) -> socket.socket:
    return socket.create_connection(relay.way(name), 30)


def round_trip(sock: socket.socket) -> float:
    began = time.monotonic()
    sock.sendall(b"?")
    assert sock.recv(1) == b"?"
    return time.monotonic() - began


@pytest.mark.parametrize(("direction", "times"), [("egress", 1), ("symmetric", 2)])
def test_what_leaves_the_shaped_host_is_late_whoever_connected(
    tmp_path: Path, serve: Serve, direction: str, times: int
) -> None:
    targets = {"pi1": serve(echo, SHAPED), "pi2": serve(echo), "server": serve(echo)}
    options = ("--delay", "50ms", "--direction", direction)
    with started(tmp_path, targets, *options) as relay:
        assert relay.document["host"] == "pi1"
        assert set(relay.document["ways"]) == set(targets)
        for name in targets:
            with connected(relay, name) as sock:
                assert round_trip(sock) >= times * DELAY_S


def test_only_what_leaves_the_shaped_host_is_limited(tmp_path: Path, serve: Serve) -> None:
    """250 KB are 200 ms at 10 Mbit/s; all connections together get no more."""
    heard: list[float] = []

    def take(sock: socket.socket) -> None:
        while sock.recv(65536):
            pass
        heard.append(time.monotonic())

    def give(sock: socket.socket) -> None:
        sock.sendall(bytes(125_000))

    targets = {"pi1": serve(give, SHAPED), "pi2": serve(take)}
    with started(tmp_path, targets, "--rate", "10mbit") as relay:
        began = time.monotonic()
        with connected(relay, "pi2") as out, connected(relay, "pi1") as back:
            out.sendall(bytes(125_000))
            out.shutdown(socket.SHUT_WR)
            while back.recv(65536):
                pass
            assert out.recv(1) == b""
        ended = max(time.monotonic(), *heard)
        assert ended - began >= 0.2


def test_every_byte_arrives_in_order_both_ways(tmp_path: Path, serve: Serve) -> None:
    """Several connections at once, in pieces of any size; the far end echoes."""
    chance = random.Random(5)
    options = ("--delay", "5ms", "--rate", "400mbit", "--direction", "symmetric")
    with started(tmp_path, {"pi2": serve(echo)}, *options) as relay:

        def one(seed: int) -> None:
            sent = random.Random(seed).randbytes(400_000)
            with connected(relay, "pi2") as sock:

                def say() -> None:
                    place = 0
                    while place < len(sent):
                        step = chance.choice((1, 20, 1448, 9000, 65536, 200_000))
                        sock.sendall(sent[place : place + step])
                        place += step
                    sock.shutdown(socket.SHUT_WR)

                speaker = threading.Thread(target=say)
                speaker.start()
                heard = bytearray()
                while piece := sock.recv(65536):
                    heard += piece
                speaker.join()
                same.append(bytes(heard) == sent)

        same: list[bool] = []
        threads = [threading.Thread(target=one, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert same == [True] * 4


def test_the_end_of_one_direction_leaves_the_other_open(tmp_path: Path, serve: Serve) -> None:
    def answer(sock: socket.socket) -> None:
        heard = b""
        while piece := sock.recv(100):
            heard += piece
        sock.sendall(heard[::-1])

    with (
        started(tmp_path, {"pi2": serve(answer)}, "--delay", "20ms") as relay,
        connected(relay, "pi2") as sock,
    ):
        sock.sendall(b"abc")
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b"cba"
        assert sock.recv(100) == b""


def test_a_far_end_that_breaks_off_breaks_the_near_one_off(tmp_path: Path, serve: Serve) -> None:
    def vanish(sock: socket.socket) -> None:
        sock.recv(1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with started(tmp_path, {"pi2": serve(vanish)}, "--delay", "20ms") as relay:
        with connected(relay, "pi2") as sock:
            sock.sendall(b"?")
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        assert relay.process.poll() is None


def test_a_near_end_that_breaks_off_breaks_the_far_one_off(tmp_path: Path, serve: Serve) -> None:
    seen: list[object] = []
    over = threading.Event()

    def listen(sock: socket.socket) -> None:
        try:
            seen.append(sock.recv(100))
            seen.append(sock.recv(100))
        except OSError as error:
            seen.append(type(error))
        over.set()

    with started(tmp_path, {"pi2": serve(listen)}, "--delay", "20ms") as relay:
        with connected(relay, "pi2") as sock:
            sock.sendall(b"last words")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert over.wait(30)
    assert seen[-1] is ConnectionResetError


def test_where_nobody_listens_the_connection_is_closed_and_others_go_on(
    tmp_path: Path, serve: Serve
) -> None:
    with socket.create_server((OTHER, 0)) as closed:
        nobody = closed.getsockname()
    with started(tmp_path, {"gone": nobody, "pi2": serve(echo)}, "--delay", "1ms") as relay:
        # Broken off while it is being made, or right after.
        with contextlib.suppress(ConnectionResetError), connected(relay, "gone") as sock:
            assert sock.recv(1) == b""
        with connected(relay, "pi2") as sock:
            round_trip(sock)


def test_the_far_end_sees_who_has_come(tmp_path: Path, serve: Serve) -> None:
    def tell(sock: socket.socket) -> None:
        sock.sendall(str(sock.getpeername()[0]).encode())

    with started(tmp_path, {"pi2": serve(tell)}, "--delay", "1ms") as relay:
        own = ("127.0.76.77", 0)
        with socket.create_connection(relay.way("pi2"), 30, source_address=own) as sock:
            assert sock.recv(100) == b"127.0.76.77"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, serve: Serve, number: int) -> None:
    with started(tmp_path, {"pi2": serve(echo)}, "--delay", "1ms") as relay:
        with connected(relay, "pi2") as sock:
            round_trip(sock)
            relay.process.send_signal(number)
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b""
        assert relay.process.wait(30) == 0
        assert relay.process.stderr
        assert relay.process.stderr.read() == ""


def test_without_its_lease_it_closes_everything(tmp_path: Path, serve: Serve) -> None:
    with started(tmp_path, {"pi2": serve(echo)}, "--delay", "1ms") as relay:
        with connected(relay, "pi2") as sock:
            round_trip(sock)
            relay.lease.unlink()
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b""
        assert relay.process.wait(30) == 2
        assert relay.process.stderr
        assert relay.process.stderr.read().startswith("E_LEASE: ")
        with pytest.raises(ConnectionRefusedError):
            connected(relay, "pi2")


def test_a_lease_counts_from_when_it_was_touched_last(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with pytest.raises(ParetoPipeError, match=r"E_LEASE: .* touch it first"):
        Renewed(path, 10)
    path.touch()
    lease, began = Renewed(path, 10), time.monotonic()
    lease.check(began + 9)
    os.utime(path, (0, 0))  # a clock that jumps makes no lease old
    lease.check(began + 18)
    lease.check(began + 27)
    with pytest.raises(ParetoPipeError, match=r"E_LEASE: .* was not touched for 10 s"):
        lease.check(began + 29)
    with pytest.raises(ParetoPipeError, match=r"E_LEASE: .* touch it first"):
        Renewed(path, 10)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--direction", "ingress"], "direction ingress, expected egress or symmetric"),
        (["--rate", "5 Mbit/s"], "rate '5 Mbit/s' has no unit that is known"),
        (["--delay", "0ms", "--rate", ""], "neither a delay nor a rate"),
        (["--towards", "pi2"], "'pi2' is no hop, expected NAME=ADDRESS:PORT=ADDRESS:PORT"),
        (["--towards", f"pi1={HOP}:0={OTHER}:9"], "pi1 is named by two hops"),
        (["--from", f"pi3={HOP}:0={OTHER}:9"], "2 hops --from and 1 --towards"),
        (["--towards", f"pi3=0.0.0.0:0={OTHER}:9"], "0.0.0.0:0 is not this machine's loopback"),
        (["--towards", f"pi3={HOP}:0=192.0.2.1:22"], "192.0.2.1:22 is not this machine's loop"),
        (["--towards", f"pi3={HOP}:70000={OTHER}:9"], "127.0.76.101:70000 is not"),
        (["--towards", f"pi3={HOP}.5:0={OTHER}:9"], "Expected 4 octets in '127.0.76.101.5'"),
    ],
)
def test_what_it_cannot_do_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    lease = tmp_path / "lease"
    lease.touch()
    given = ["relay", "--delay", "1ms", *HOPS, *arguments, "--lease", str(lease)]
    assert main(given) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith(f"E_RELAY: {sentence}")


def test_a_hop_that_lacks_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lease").touch()
    for given in (HOPS[:2], HOPS[2:], []):
        assert main(["relay", "--delay", "1ms", *given, "--lease", str(tmp_path / "lease")]) == 2
        assert "expected one --from" in capsys.readouterr().err


def test_an_address_in_use_is_one_sentence(
    tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lease").touch()
    address, port = serve(echo)
    hops = [*HOPS[:2], "--towards", f"pi2={address}:{port}={OTHER}:9"]
    assert main(["relay", "--delay", "1ms", *hops, "--lease", str(tmp_path / "lease")]) == 2
    assert f"the hop to pi2 cannot listen at {address}:{port}" in capsys.readouterr().err
