"""Agents that are away: waited for, but not where that would be in vain."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator.loop import GIVE_UP_AFTER
from paretopipe_runtime.wire import handshake
from tests.kills import trial
from tests.kills.test_frozen import rows
from tests.kills.test_kill import boot
from tests.kills.trial import Bench

AWAY_S = 3.0
SOON_S = 8.0  # a poll, a knock, the end of a process
WAITING = "waiting for pi2's agent, "


def current(folder: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return str(json.loads((folder / "progress.json").read_text())["current"])
    return ""


@contextmanager
def away(bench: Bench, folder: Path, limit_s: float = 60) -> Iterator[int]:
    """A controller whose sweep has lost pi2 in its first run; pi2 is back afterwards."""
    command = [*bench.sweep(folder), "--agent-wait", str(limit_s)]
    gate = {"folder": str(folder), "phase": "between_batches", "run": 1}
    controller = bench.zygote.fork(
        "control", folder=str(folder), command=command, log=str(folder / "log"), gate=gate
    )
    trial.reach(folder, "between_batches")
    bench.cluster.stop("pi2")
    (folder / "go").touch()
    try:
        yield controller
    finally:
        if "pi2" not in bench.cluster.agents:
            bench.cluster.start("pi2")


def complete(bench: Bench, folder: Path) -> None:
    bench.settle()
    bench.finish(folder)
    trial.assert_complete((folder / "home.jsonl").read_bytes(), bench.keys)


def test_a_host_that_reboots_costs_one_run(bench: Bench, tmp_path: Path) -> None:
    with away(bench, tmp_path) as controller:
        trial.wait_until(lambda: current(tmp_path).startswith(WAITING), 20, "does not wait")
        boot(bench, "pi2").write_text("after a reboot")
        time.sleep(AWAY_S)
        seen = current(tmp_path)
        assert seen.startswith(WAITING)
        assert seen.endswith(" s of 60")
        bench.cluster.start("pi2")
        assert bench.zygote.status(controller) == 0, (tmp_path / "log").read_text()
    lost, *others = rows(tmp_path)
    assert lost["status"].startswith("failed:E_"), "one run is lost, however long it was away"
    assert {row["status"] for row in others} == {"ok"}
    assert {row["hosts"]["pi2"]["boot_id"] for row in others} == {"after a reboot"}
    assert "pi2's agent had been away for " in (tmp_path / "log").read_text()
    complete(bench, tmp_path)


def test_after_the_limit_it_gives_up_and_says_whom_it_waited_for(
    bench: Bench, tmp_path: Path
) -> None:
    with away(bench, tmp_path, limit_s=1) as controller:
        assert bench.zygote.status(controller) == 1
        failed = rows(tmp_path)
    assert len(failed) == GIVE_UP_AFTER
    assert [row["status"] for row in failed[1:]] == ["failed:E_CONNECT"] * 3
    said = (tmp_path / "log").read_text()
    assert "in a row, having waited 1 s for pi2's agent: no worker agent answers at" in said
    complete(bench, tmp_path)


@pytest.mark.parametrize("how", ["a signal", "no lease"])
def test_a_sweep_that_waits_stops_at_once(bench: Bench, tmp_path: Path, how: str) -> None:
    with away(bench, tmp_path) as controller:
        trial.wait_until(lambda: current(tmp_path).startswith(WAITING), 20, "does not wait")
        sweep = int((tmp_path / "sweep.pid").read_text())
        if how == "a signal":
            os.killpg(sweep, signal.SIGTERM)
            assert bench.zygote.status(controller, SOON_S) == 75
        else:
            os.kill(controller, signal.SIGKILL)
            trial.wait_until(lambda: not bench.zygote.strays(), SOON_S, "still waits")
    assert "stopped with 2 runs to go; the same command goes on" in (tmp_path / "log").read_text()
    complete(bench, tmp_path)


def serve(listener: socket.socket, key: bytes | None) -> None:
    """Be an agent with this key, or with none another program."""
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        with sock, contextlib.suppress(ParetoPipeError):
            if key is None:
                sock.sendall(b"SSH-2.0-OpenSSH_10.0\r\n")
                sock.recv(4096)
            else:
                handshake.accept(sock, key, {"node": "pi2"})


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("key", "pi2: {} and this host do not share a key"),
        ("code", "pi2: {} runs paretopipe 0.0.9+other, this host "),
        ("program", "pi2: {} sent 5353482d322e302d, not a paretopipe peer"),
    ],
)
def test_an_agent_that_comes_back_as_another_ends_the_sweep(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, sentence: str
) -> None:
    """Its measurements could not be compared, and no wait mends that."""
    keys = {"key": secrets.token_bytes(32), "code": bench.cluster.key, "program": None}
    if what == "code":
        monkeypatch.setattr(handshake, "version", lambda: "0.0.9+other")
    where = (bench.cluster.addresses["pi2"], bench.cluster.port)
    with away(bench, tmp_path) as controller:
        trial.wait_until(lambda: current(tmp_path).startswith(WAITING), 20, "does not wait")
        with socket.create_server(where) as listener:
            thread = threading.Thread(target=serve, args=(listener, keys[what]))
            thread.start()
            status = bench.zygote.status(controller, SOON_S)
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
    assert status == 1
    assert len(rows(tmp_path)) == 1, "no other run was tried"
    said = (tmp_path / "log").read_text()
    assert f"gave up: {sentence.format('{}:{}'.format(*where))}" in said
    monkeypatch.undo()
    complete(bench, tmp_path)
