"""The probe measures what the relay does, and loopback as it is."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from paretopipe_runtime.cli import main
from paretopipe_runtime.relay import probe
from tests.relay.conftest import OTHER, started

FIELDS = {"rtt_ms", "spread_ms", "pings", "pings_lost", "rate_mbit"}


@pytest.fixture(autouse=True)
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "RATE_S", 0.2)
    monkeypatch.setattr(probe, "PING_EVERY_S", 0.01)


@pytest.fixture
def free() -> tuple[str, int]:
    with socket.create_server((OTHER, 0)) as server:
        return OTHER, int(server.getsockname()[1])


def test_the_hop_s_delay_and_rate_are_measured(
    tmp_path: Path, free: tuple[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--delay", "30ms", "--rate", "20mbit", "--direction", "symmetric")
    with started(tmp_path, {"probe": free}, *options) as relay:
        address, port = relay.way("probe")
        where = ["--listen", f"{free[0]}:{free[1]}", "--through", f"{address}:{port}"]
        assert main(["probe", *where, "--both-ways"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    measured = json.loads(line)
    assert set(measured) == {*FIELDS, "rate_back_mbit"}
    assert measured["rtt_ms"] >= 60
    assert (measured["pings"], measured["pings_lost"]) == (probe.PINGS, 0)
    for which in ("rate_mbit", "rate_back_mbit"):  # a piece is a hundredth of it
        assert 0 < measured[which] <= 1.05 * 20


def test_without_a_relay_it_measures_loopback(free: tuple[str, int]) -> None:
    measured = probe.probe(free, None, both_ways=False)
    assert set(measured) == FIELDS
    assert measured["rate_mbit"] > 0


def test_a_connection_of_somebody_else_s_is_not_measured(
    tmp_path: Path, free: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.create_connection

    def after_a_stranger(address: tuple[str, int], *more: float) -> socket.socket:
        with real(address) as stranger:
            stranger.sendall(b"I am not the one, whatever this says")
        return real(address, *more)

    with started(tmp_path, {"probe": free}, "--delay", "30ms") as relay:
        monkeypatch.setattr(socket, "create_connection", after_a_stranger)
        assert probe.probe(free, relay.way("probe"), both_ways=False)["rtt_ms"] >= 30


def test_without_a_hop_there_it_is_one_sentence(
    free: tuple[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    listen = f"{free[0]}:{free[1]}"
    assert main(["probe", "--listen", listen, "--through", f"{OTHER}:1"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"E_PROBE: nothing could be measured through {OTHER}:1 to {listen}")
    assert main(["probe", "--listen", "10.0.0.1:5"]) == 2
    assert "not this machine's loopback" in capsys.readouterr().err
    assert main(["probe", "--listen", "127.0.0.1"]) == 2
    assert "is no address and port" in capsys.readouterr().err
