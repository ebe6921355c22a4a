"""The rate probe counts right, and both of its ends terminate."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "roles/netem/files/netem_probe.py"
QUICK = {"omit_s": 0.05, "seconds": 0.1, "window": 65536, "back": False}
PINGS = {"number": 2, "every_s": 0.01}


@pytest.fixture(scope="module")
def probe(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("roles/netem/files/netem_probe.py")


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def server(port: int) -> Iterator[subprocess.Popen[str]]:
    """Start the peer's end as its unit does."""
    words = ["/usr/bin/python3", "-IBS", "-c", PROGRAM.read_text(), "serve", "127.0.0.1", str(port)]
    process = subprocess.Popen(words, text=True, stderr=subprocess.PIPE)
    yield process
    process.kill()
    assert process.communicate()[1] == ""


class Arriving:
    """A fake connection with given bytes per tenth of a second, on its own clock."""

    def __init__(self, *sizes: int) -> None:
        self.sizes, self.now = list(sizes), 100.0

    def monotonic(self) -> float:
        return self.now

    def recv_into(self, _: memoryview) -> int:
        self.now += 0.1
        return self.sizes.pop(0) if self.sizes else 0


def test_what_arrives_after_slow_start_is_counted_by_the_receivers_clock(
    probe: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ten times 1,000 bytes a tenth: 80 kbit/s; slower before, faster after.
    arriving = Arriving(*[10] * 12, *[1000] * 20, *[9999] * 5)
    monkeypatch.setattr(probe, "time", arriving)
    assert probe.receive(arriving, 1.05, 1.95) == pytest.approx(80_000)
    monkeypatch.setattr(probe, "time", short := Arriving(*[1000] * 12))
    with pytest.raises(ConnectionError, match="ended in the midst"):
        probe.receive(short, 1.05, 1.95)


@pytest.mark.usefixtures("server")
def test_both_ways_are_measured_and_again_and_again(port: int) -> None:
    asked: dict[str, Any] = {
        "source": "127.0.0.1",
        "port": port,
        "peers": [{"host": name, "address": "127.0.0.1"} for name in ("pi2", "server")],
        "pings": PINGS,
        "rates": {"rate_mbit": QUICK, "rate_back_mbit": {**QUICK, "back": True}},
    }
    done = subprocess.run(
        ["/usr/bin/python3", "-IBS", "-", "measure", json.dumps(asked)],
        input=PROGRAM.read_text(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    measured = json.loads(done.stdout)
    assert list(measured) == ["pi2", "server"]
    for seen in measured.values():
        assert {name: list(each) for name, each in seen["rates"].items()} == {
            "rate_mbit": ["bit_s"],
            "rate_back_mbit": ["bit_s"],
        }, seen
        assert min(each["bit_s"] for each in seen["rates"].values()) > 0


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "line", [b"GET / HTTP/1.1\n", b"{}\n", b"\0" * 999, b'{"back": false, "omit_s": "x"}\n', b""]
)
def test_a_caller_who_says_something_else_is_let_go_and_the_next_is_served(
    probe: ModuleType, port: int, line: bytes
) -> None:
    assert "bit_s" in probe.rate("127.0.0.1", "127.0.0.1", port, QUICK)
    with socket.create_connection(("127.0.0.1", port), 10) as stranger:
        stranger.sendall(line)
        with contextlib.suppress(OSError):  # already released
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(1) == b""
    assert "bit_s" in probe.rate("127.0.0.1", "127.0.0.1", port, QUICK)


def test_nobody_there_is_one_sentence(
    probe: ModuleType, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "PATIENCE_S", 0.0)
    answered = probe.rate("127.0.0.1", "127.0.0.1", port, QUICK)
    assert answered == {"error": "Connection refused"}


def test_a_server_that_dies_is_one_sentence(
    probe: ModuleType, port: int, server: subprocess.Popen[str]
) -> None:
    assert "bit_s" in probe.rate("127.0.0.1", "127.0.0.1", port, QUICK)
    endless = {**QUICK, "seconds": 50.0}
    killer = [sys.executable, "-c", f"import os, time; time.sleep(0.5); os.kill({server.pid}, 9)"]
    with subprocess.Popen(killer):
        answered = probe.rate("127.0.0.1", "127.0.0.1", port, endless)
    assert answered["error"].startswith("the rate probe there gave up: ")
