"""Hosts that are processes: a set of them for these tests alone, at addresses of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from paretopipe_runtime.unit import Unit, stop
from tests.playbooks.conftest import Play, run_playbook, start_playbook

ROOT = Path(__file__).resolve().parents[2]
HOSTS = {"pi1": 11, "pi2": 12, "server": 10}
PORT = 47470


@dataclass(frozen=True)
class Processes:
    """The folder and the network of a set of hosts."""

    folder: Path
    net: str

    @property
    def arguments(self) -> list[str]:
        """What every playbook is told."""
        there = f"processes_dir={self.folder} processes_net={self.net}"
        return ["-i", "inventory/processes", "-e", there]

    def play(self, name: str, *arguments: str) -> Play:
        """Run a playbook on them."""
        return run_playbook(name, *self.arguments, *arguments)

    def starts(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        """Start one."""
        return start_playbook(name, *self.arguments, *arguments)

    def unit(self, name: str) -> Unit:
        """One of their units."""
        return Unit(self.folder / "units", f"paretopipe-{name}")

    def listening(self) -> set[str]:
        """Those whose agents answer."""
        return {name for name, number in HOSTS.items() if answers(f"{self.net}.{number}")}


def answers(address: str) -> bool:
    with socket.socket() as sock:
        sock.settimeout(5)
        return sock.connect_ex((address, PORT)) == 0


def is_free(address: str) -> bool:
    with socket.socket() as sock, contextlib.suppress(OSError):
        sock.bind((address, PORT))
        return True
    return False


def has_packages(folder: Path) -> None:
    """Make the environment that provisioning would fill, out of the packages of this one."""
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (site,) = (venv / "lib").glob("python*/site-packages")
    (site / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Return provisioned hosts; nothing of them is left."""
    nets = [f"127.0.{number}" for number in range(90, 120)]
    free = (net for net in nets if all(is_free(f"{net}.{number}") for number in HOSTS.values()))
    if (net := next(free, None)) is None:
        pytest.skip("no address like 127.0.90.11 can be listened on here; Linux has them all")
    hosts = Processes(tmp_path_factory.mktemp("processes") / "all", net)
    hosts.folder.mkdir()
    has_packages(hosts.folder)
    try:
        done = hosts.play("provision")
        assert done.status == 0, done.output
        assert done.changed > 0
        yield hosts
    finally:
        for path in (hosts.folder / "units").glob("*.unit"):
            stop(Unit(path.parent, path.stem))


@pytest.fixture(scope="module")
def results(processes: Processes) -> Iterator[Callable[[str], Path]]:
    """Return the folder of a sweep's records, by its name; none is left."""
    named = []

    def folder(sweep: str) -> Path:
        named.append(sweep)
        remove(sweep)
        return ROOT / "experiments/results" / sweep

    def remove(sweep: str) -> None:
        shutil.rmtree(ROOT / "experiments/results" / sweep, ignore_errors=True)
        shutil.rmtree(ROOT / "reports/html" / sweep, ignore_errors=True)

    assert processes.listening()
    yield folder
    for sweep in named:
        remove(sweep)


def until(condition: Callable[[], object], timeout_s: float = 120) -> None:
    """Wait for it."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def kill(process: subprocess.Popen[str]) -> None:
    """End an ansible-playbook and all its workers, with no chance to tidy up."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
