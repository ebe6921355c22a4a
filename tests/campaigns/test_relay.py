"""The relay against theory: an echo through it, and straight over loopback, in turns.

Theory is the delay, and the wire bytes over the rate; the echo returns unshaped. Timings are this
machine's.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import threading
import time
from pathlib import Path

import psutil
import pytest

from paretopipe_runtime.contract.units import transfer_s
from paretopipe_runtime.relay.probe import probe
from tests.campaigns.conftest import Findings
from tests.relay.conftest import OTHER, started

NETWORKS = ((20, 50), (200, 5))  # ms one way, Mbit/s
#: Bytes of a message, and how many go each way in turn.
MESSAGES = ((64, 60), (256 * 1024, 30), (1024 * 1024, 12))
PAUSE_S = 0.03


def _echo(server: socket.socket) -> None:
    def each(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            while len(size := sock.recv(8, socket.MSG_WAITALL)) == 8:
                nbytes = int.from_bytes(size, "big")
                sock.sendall(sock.recv(nbytes, socket.MSG_WAITALL))

    with contextlib.suppress(OSError):
        while True:
            sock, _ = server.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=each, args=(sock,), daemon=True).start()


def _trip_s(sock: socket.socket, nbytes: int) -> float:
    message = nbytes.to_bytes(8, "big") + bytes(nbytes)
    began = time.perf_counter()
    sock.sendall(message)
    assert len(sock.recv(nbytes, socket.MSG_WAITALL)) == nbytes
    return time.perf_counter() - began


def _connected(address: tuple[str, int]) -> socket.socket:
    sock = socket.create_connection(address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("delay_ms", "mbit"), NETWORKS)
def test_an_echo_takes_what_theory_says(
    findings: Findings, tmp_path: Path, delay_ms: int, mbit: int
) -> None:
    options = ("--delay", f"{delay_ms}ms", "--rate", f"{mbit}mbit", "--lease-seconds", "1800")
    with socket.create_server((OTHER, 0)) as server:
        threading.Thread(target=_echo, args=(server,), daemon=True).start()
        straight = server.getsockname()
        with socket.create_server((OTHER, 0)) as unused:
            free = unused.getsockname()
        with started(tmp_path, {"echo": straight, "probe": free}, *options) as relay:
            load = os.getloadavg()[0]
            findings.add(f"\n{delay_ms} ms, {mbit} Mbit/s; load {load:.1f} at the start")
            findings.add(
                "message B   theory ms  relay: min    median     off  loopback: min  median  "
                "relay's CPU"
            )
            for nbytes, times in MESSAGES:
                theory_s = delay_ms / 1000 + transfer_s(nbytes + 8, mbit)
                process = psutil.Process(relay.process.pid)
                seen: dict[bool, list[float]] = {True: [], False: []}
                used_s = -sum(process.cpu_times()[:2])
                with _connected(relay.way("echo")) as through, _connected(straight) as beside:
                    for _ in range(times):  # in turns, under the same load
                        for relayed, sock in ((True, through), (False, beside)):
                            seen[relayed].append(_trip_s(sock, nbytes))
                            time.sleep(PAUSE_S)
                used_s += sum(process.cpu_times()[:2])
                middle, beside_s = map(statistics.median, (seen[True], seen[False]))
                findings.add(
                    f"{nbytes:>9}  {1000 * theory_s:>10.2f}  {1000 * min(seen[True]):>10.2f}  "
                    f"{1000 * middle:>8.2f}  {100 * (middle / theory_s - 1):>+5.1f}%  "
                    f"{1000 * min(seen[False]):>13.2f}  {1000 * beside_s:>6.2f}"
                    f"  {100 * used_s / sum(seen[True]):>10.1f}%"
                )
                assert min(seen[True]) >= theory_s
            measured = probe(free, relay.way("probe"), both_ways=False)
            findings.add(
                f"`paretopipe probe`: {measured['rtt_ms']} ms (spread {measured['spread_ms']}), "
                f"{measured['rate_mbit']} Mbit/s"
            )
