"""The keeper of a detached sweep: laid down as the role does, asked as the orchestrator does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator.shaping import Keeper, Network
from tests.playbooks.fake_host import INTERFACE, PFIFO, ROLE, FakeHost

KEY = b"of this sweep"
SLOW = {"delay_s": 0.04, "direction": "egress"}
ORDERS = {
    "address": "127.0.0.1",
    "key": KEY.decode(),
    "lease_s": 600,
    "limit": 0,
    "sandbox": [],
}
INTERFACES = {
    "interface": INTERFACE,
    "scenarios": {
        name: {"asked": asked, "peers": [], "only_peers": False}
        for name, asked in (("slow", SLOW), ("slower", {**SLOW, "delay_s": 0.08}))
    }
    | {"of another host": {}},
}
PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: netem, tasks_from: keep}
"""


@contextmanager
def running(folder: Path, path: str, **orders: Any) -> Iterator[Keeper]:
    """Start one; it has to end well."""
    shutil.copy(ROLE / "files/netem_keeper.py", folder)
    shutil.copytree(ROLE / "module_utils", folder / "ansible/module_utils", dirs_exist_ok=True)
    (folder / "ansible/__init__.py").touch()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (folder / "orders.json").write_text(json.dumps({**ORDERS, "port": port, **orders}))
    kept = {name: text for name, text in os.environ.items() if name != "SSH_CONNECTION"}
    process = subprocess.Popen(
        [sys.executable, "-BES", str(folder / "netem_keeper.py"), str(folder / "orders.json")],
        env={**kept, "PATH": path, "FAKE_HOST": str(folder)},
    )
    try:
        yield Keeper("pi1", ("127.0.0.1", port), KEY)
        process.terminate()
        assert process.wait(30) in (0, -signal.SIGTERM)  # the latter if it was ending by itself
    finally:
        process.kill()
        process.wait(30)


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)


@pytest.fixture
def start(host: FakeHost) -> Callable[..., Any]:
    return lambda **orders: running(
        host.folder, host.environment["PATH"], interfaces=[INTERFACES], **orders
    )


def shaped(host: FakeHost) -> str:
    return str(host.state["qdiscs"][INTERFACE][0]["kind"])


def test_it_shapes_as_one_of_its_list_and_tells_of_any_interruption(
    host: FakeHost, start: Callable[..., Any]
) -> None:
    before = host.state
    with start() as keeper:
        held = keeper.ask("slow")
        assert (shaped(host), len(host.state["timers"])) == ("netem", 1)
        assert keeper.ask("slow") == held
        assert keeper.ask("slower") != held
        delay = host.state["qdiscs"][INTERFACE][0]["options"]["delay"]["delay"]
        assert delay == pytest.approx(0.08)

        network = Network([keeper], "slow")
        network.begin()
        assert network.lost() == ""
        host.set(qdiscs={INTERFACE: [PFIFO]})  # as after `tc qdisc del`
        assert "was interrupted" in network.lost()
        assert shaped(host) == "netem"
        network.begin()
        assert network.lost() == ""
        host.set(timers={})  # as after someone's reset.yml
        assert "was interrupted" in network.lost()

        unshaped = keeper.ask("of another host")
        assert host.state == before
        assert keeper.ask("") == unshaped
        host.set(qdiscs={INTERFACE: [{"kind": "netem", "handle": "5a5a:", "root": True}, PFIFO]})
        assert keeper.ask("") != unshaped, "somebody shaped it"
        assert keeper.ask("slow")
    assert host.state == before, "it ended, and the interface is as it was"


def test_it_does_nothing_else_and_for_nobody_else(
    host: FakeHost, start: Callable[..., Any]
) -> None:
    with start() as keeper:
        with pytest.raises(ParetoPipeError, match="scenario 'wan' is none of this sweep's"):
            keeper.ask("wan")
        with pytest.raises(ParetoPipeError, match="it refused the request"):
            Keeper("pi1", keeper.address, b"of another sweep").ask("slow")
        for noise in (b"", b"\0" * 40, b"x" * 100_000):
            with socket.create_connection(keeper.address) as sock:
                sock.recv(32)
                try:
                    sock.sendall(noise)
                    sock.shutdown(socket.SHUT_WR)
                    assert sock.recv(1) == b""
                except OSError:
                    pass  # reset, for it reads no more than it needs
        host.set(lacks=["sch_netem"])
        with pytest.raises(ParetoPipeError, match="the kernel of this host lacks sch_netem"):
            keeper.ask("slow")
        assert shaped(host) == "pfifo_fast"
    assert [line for line in host.log if "qdisc add" in line and "netem" in line] == []


def test_it_ends_when_told_and_when_nobody_asks(host: FakeHost, start: Callable[..., Any]) -> None:
    before = host.state
    with start() as keeper:
        keeper.ask("slow")
        assert keeper.ask(None) == "ended"
        assert host.state == before
    with start(lease_s=1) as keeper:
        keeper.ask("slow")
        deadline = time.monotonic() + 30
        while host.state != before:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_the_role_lays_down_what_runs(host: FakeHost, tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    values = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "netem_kept": [
            {
                "interface": INTERFACE,
                "scenarios": {
                    "wan": {"asked": {"delay": "200ms"}, "peers": [], "only": False},
                    "wan_second": {"asked": {}, "peers": [], "only": False},
                },
            }
        ],
        "netem_keeper_address": "127.0.0.1",
        "netem_keeper_port": port,
        "netem_keeper_key": KEY.decode(),
        "netem_lease": "30min",
        "__netem_keeper_dir": f"{tmp_path}/run",
    }
    binary = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [str(binary), "-i", "localhost,", str(tmp_path / "play.yml"), "-e", json.dumps(values)],
        cwd=ROLE.parents[1],
        env={**host.environment, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert KEY.decode() not in done.stdout + " ".join(host.log)
    assert (tmp_path / "run/orders.json").stat().st_mode & 0o777 == 0o400
    _, *words = host.state["service"]
    process = subprocess.Popen([sys.executable, *words], env=host.environment)
    try:
        keeper = Keeper("pi1", ("127.0.0.1", port), KEY)
        keeper.ask("wan_second")
        assert shaped(host) == "pfifo_fast"
        keeper.ask("wan")
        (timer,) = host.state["timers"].values()
        assert (shaped(host), timer["seconds"]) == ("netem", 1800)
    finally:
        process.terminate()
        process.wait(30)


def test_a_keeper_that_is_gone_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paretopipe_runtime.orchestrator.shaping.START_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        gone = Keeper("pi1", probe.getsockname(), KEY)
    with pytest.raises(ParetoPipeError, match="E_SHAPING: pi1 does not hold the network of"):
        gone.ask("slow")
