"""The netem role under Ansible, on a fake host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.effort import THOROUGH
from tests.playbooks.conftest import Play
from tests.playbooks.fake_host import INTERFACE, PFIFO, FakeHost

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  roles: [netem]
  post_tasks:
    - ansible.builtin.debug: {msg: "guards {{ netem_guards | default([]) | length }}"}
    - ansible.builtin.pause: {seconds: "{{ wait | default(0) }}"}
"""
TIMER = f"paretopipe-netem-revert-{INTERFACE}"


def asking(**asked: str) -> list[str]:
    return ["-e", json.dumps({"netem_asked": asked})]


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)


@pytest.fixture
def start(host: FakeHost, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    playbook = tmp_path / "shape.yml"
    playbook.write_text(PLAYBOOK)

    def started(*words: str) -> subprocess.Popen[str]:
        values = f"ansible_python_interpreter={sys.executable} netem_interface={INTERFACE}"
        binary = Path(sys.executable).with_name("ansible-playbook")
        command = [str(binary), "-i", "localhost,", "-c", "local", str(playbook), "-e", values]
        return subprocess.Popen(
            [*command, *words],
            cwd=ROOT,
            env={**host.environment, "ANSIBLE_NOCOLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    return started


@pytest.fixture
def shape(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., Play]:
    def shaped(*words: str) -> Play:
        process = start(*words)
        output = process.communicate(timeout=120)[0]
        return Play(process.returncode, output)

    return shaped


def test_by_hand_it_is_shaped_for_two_hours_and_a_second_call_renews(
    shape: Callable[..., Play], host: FakeHost
) -> None:
    asked = asking(delay="40ms", jitter="5ms", distribution="normal")
    if THOROUGH:
        dry = shape(*asked, "--check")
        assert (dry.status, dry.changed) == (0, 1), dry.output
        assert host.log == []
    first = shape(*asked)
    assert (first.status, first.changed) == (0, 1), first.output
    assert "eth9 of localhost stays shaped until" in first.output
    assert "2h from now" in first.output
    assert "guards 0" in first.output
    assert host.state["timers"][TIMER]["seconds"] == 7200
    again = shape(*asked, "-e", "netem_lease=30min")
    assert (again.status, again.changed) == (0, 0), again.output
    assert host.state["timers"][TIMER]["seconds"] == 1800
    back = shape("-e", "netem_state=absent")
    assert (back.status, back.changed) == (0, 1), back.output
    assert host.state["qdiscs"] == {INTERFACE: [PFIFO]}
    assert not host.state["timers"]


@pytest.mark.thorough  # test_hold_netem.py and the testbed kill a controller, too
def test_a_held_lease_is_renewed_until_the_controller_is_killed(
    start: Callable[..., subprocess.Popen[str]], host: FakeHost
) -> None:
    def renewed() -> int:
        return host.log.count(f"systemctl restart {TIMER}.timer")

    process = start(*asking(delay="40ms"), "-e", "netem_hold=true netem_lease=10s wait=600")
    deadline = time.monotonic() + 60
    while renewed() < 3:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    output = process.communicate(timeout=10)[0]
    assert "guards 1" in output
    time.sleep(2)  # for a renewal under way, on a busy machine
    count = renewed()
    time.sleep(2.5)
    assert renewed() == count, "there was time for two"


def test_a_mistake_is_one_sentence(shape: Callable[..., Play], host: FakeHost) -> None:
    """Any of them: `test_netem.py` has each."""
    done = shape(*asking(rate="5mbit", direction="symmetric"))
    assert done.status != 0
    assert "set netem_peer_addresses" in " ".join(done.output.split()), done.output
    assert host.log == []
