"""Run real playbooks; load plugins and modules that are no packages."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

# Before Ansible, which replaces sys.intern: PyTorch's compiler cannot load after that.
import paretopipe_runtime.models.architectures  # noqa: F401
from tests.testbed.machines import shared, why_not

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Play:
    status: int
    output: str

    @property
    def changed(self) -> int:
        """Changes on all hosts together."""
        return sum(map(int, re.findall(r"changed=(\d+)", self.output)))

    @property
    def errors(self) -> list[str]:
        """Sentences shown to the user, one per failure."""
        return re.findall(r"\[ERROR\]: (?:Task failed: )?(?:Action failed: )?(.*)", self.output)


def run_playbook(name: str, *arguments: str, timeout_s: float = 600) -> Play:
    """Run ``playbooks/NAME.yml`` from the checkout, as a user does."""
    process = start_playbook(name, *arguments)
    try:
        output = process.communicate(timeout=timeout_s)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Play(process.returncode, output)


def start_playbook(name: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a playbook in its own process group."""
    binary = Path(sys.executable).with_name("ansible-playbook")
    return subprocess.Popen(
        [str(binary), f"playbooks/{name}.yml", *arguments],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def play_here(
    folder: Path, text: str, values: Mapping[str, object], *words: str, umask: int = -1
) -> Play:
    """Run a playbook's text from `folder`, with this machine as host, without agent."""
    (folder / "play.yml").write_text(text)
    systemctl = folder / "bin/systemctl"  # there is no agent to restart
    systemctl.parent.mkdir(exist_ok=True)
    systemctl.write_text("#!/bin/sh\nexit 5\n")
    systemctl.chmod(0o755)
    binary = str(Path(sys.executable).with_name("ansible-playbook"))
    told = [word for key, value in values.items() for word in ("-e", f"{key}={value}")]
    done = subprocess.run(
        [binary, "-i", "localhost,", "-c", "local", str(folder / "play.yml"), *told, *words],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "PATH": f"{systemctl.parent}:/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
        umask=umask,
    )
    return Play(done.returncode, done.stdout)


def load(path: str) -> ModuleType:
    name = f"loaded_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def playbook() -> Callable[..., Play]:
    return run_playbook


@pytest.fixture
def starting() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return `start_playbook`; its processes end with the test."""
    started = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        started.append(start_playbook(*arguments))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(ValueError, OSError):  # already read to its end
            process.communicate(timeout=60)


@pytest.fixture(scope="session")
def plugin() -> Callable[[str], ModuleType]:
    return load


@pytest.fixture(scope="session")
def experiments() -> dict[str, Any]:
    folder = ROOT / "experiments"
    return {path.stem: yaml.safe_load(path.read_text()) for path in folder.glob("*.yml")}


@pytest.fixture(scope="session")
def testbed() -> Callable[[str, str], str]:
    """Start testbed 0; return a function that runs a shell line on a host."""
    if said := why_not():
        pytest.skip(said)
    up = shared()[0]

    def on(host: str, line: str) -> str:
        return up.ssh(host, line, check=False)

    return on
