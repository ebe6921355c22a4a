"""A held lease is renewed while the controller lives; its users notice a loss."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEASE_S = 90.0
# A controller that holds a host, whose renewals append to a file, and then waits.
PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - hold_netem:
        host: pi1
        renew: "echo {folder}/renewed >> {folder}/renewed; echo held"
        lease_s: 2
      register: held
    - ansible.builtin.copy:
        content: "{{{{ held.guard.file }}}}"
        dest: "{folder}/file"
    - ansible.builtin.pause: {{seconds: {seconds}}}
    - hold_netem: {{release: "{{{{ [held.guard] }}}}"}}
      when: {release}
"""


@pytest.fixture(scope="module")
def hold(plugin: Callable[[str], ModuleType]) -> ModuleType:
    return plugin("roles/netem/action_plugins/hold_netem.py")


@pytest.fixture(scope="module")
def guards(hold: ModuleType) -> ModuleType:
    assert hold
    return importlib.import_module("roles.netem.shaping.guard")


@pytest.fixture
def guard(guards: ModuleType, tmp_path: Path) -> Any:
    folder = tmp_path / "held"
    folder.mkdir()
    made = guards.Guard("pi1", folder / "state.json", LEASE_S)
    guards.State(time.monotonic()).write(made.file)
    return made


def described(guard: Any) -> dict[str, Any]:
    return {"host": guard.host, "file": str(guard.file), "lease_s": guard.lease_s}


def test_a_keeper_renews_until_the_controller_has_gone(hold: ModuleType, guard: Any) -> None:
    guard = type(guard)(guard.host, guard.file, 0.9)  # a renewal every tenth of a second
    said = iter(["held", "no route to host", "held"])
    renewals: list[str] = []

    def renew() -> str:
        renewals.append(next(said))
        return renewals[-1]

    began = time.monotonic()
    hold.keep(guard, lambda: len(renewals) < 3, renew, began)
    assert len(renewals) == 3
    assert not guard.file.parent.exists(), "nobody is left to read it"


def test_trouble_is_noted_and_a_loss_ends_it(hold: ModuleType, guard: Any) -> None:
    began = time.monotonic() - LEASE_S / 3
    said = iter(["no route to host", "lost"])
    states = []

    def renew() -> str:
        states.append(guard.state())
        guard.wish.touch()  # again, and at once
        return next(said)

    hold.keep(guard, lambda: True, renew, began)
    assert guard.state().lost.startswith("its timer or its qdisc is gone")
    assert states[1].good_at == began
    assert states[1].trouble == "no route to host"
    assert "the shaping of pi1 was lost while it was relied on" in guard.problem(time.monotonic())


def test_a_renewal_counts_from_its_beginning(hold: ModuleType, guard: Any) -> None:
    """The host's timer starts later, and must not end earlier than assumed."""
    begun: list[float] = []
    states = []

    def renew() -> str:
        begun.append(time.monotonic())
        return "held"

    def lives() -> bool:
        states.append(guard.state())
        return not begun

    guard.wish.touch()
    hold.keep(guard, lives, renew, time.monotonic())
    assert states[0].good_at < states[1].good_at <= begun[0]


def test_a_released_host_is_not_renewed(hold: ModuleType, guard: Any) -> None:
    def renew() -> str:
        hold.shutil.rmtree(guard.file.parent)
        return "held"

    guard.wish.touch()
    hold.keep(guard, lambda: True, renew, time.monotonic())
    assert not guard.file.parent.exists()


def test_a_controller_that_is_dead_and_not_buried_does_not_live(hold: ModuleType) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    lives = hold.watch(child.pid)
    assert lives()
    child.kill()
    deadline = time.monotonic() + 10
    while lives() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not lives()
    child.communicate()
    assert not hold.watch(child.pid)()


def test_who_relies_on_it_gives_up_at_half_the_lease(guards: Any, guard: Any) -> None:
    now = time.monotonic()
    guards.State(now - 44, trouble="no route to host").write(guard.file)
    relied = guards.Guards([described(guard)])
    assert relied.problem() == ""
    assert relied.doubtful_s() == pytest.approx(44 + guards.MARGIN_S, abs=1)
    guards.State(now - 46, trouble="no route to host").write(guard.file)
    assert "could not be renewed for 46 s (no route to host), and it ends" in relied.problem()
    other = guards.Guard("pi2", guard.file.with_name("other.json"), LEASE_S)
    guards.State(now).write(other.file)
    both = guards.Guards([described(other), described(guard)])
    assert both.doubtful_s() == pytest.approx(46 + guards.MARGIN_S, abs=1), "as the worse of them"
    guard.file.unlink()
    assert "nobody renews the lease on pi1's shaping" in relied.problem()
    assert relied.doubtful_s() == pytest.approx(44 + guards.MARGIN_S, abs=1), "as last seen"
    fresh = guards.Guards([described(guard)])
    assert fresh.doubtful_s() >= guards.LAUNCH_S
    assert guards.Guards([]).problem() == guards.Guards([]).confirm() == ""


def test_the_times_leave_no_gap(guards: Any) -> None:
    """A lease touched at the last moment of patience expires before the shaping."""
    assert guards.PATIENCE + guards.SWEEP_SHARE < 1
    assert 1 / guards.RENEWALS < guards.PATIENCE / 4, "some renewals may fail"


@pytest.mark.parametrize(("answer", "problem"), [("held", ""), ("lost", "was lost while")])
def test_the_end_is_confirmed_by_a_look_of_its_own(
    hold: ModuleType, guards: Any, guard: Any, answer: str, problem: str
) -> None:
    guard = guards.Guard(guard.host, guard.file, 900.0)
    keeper = threading.Thread(
        target=hold.keep, args=(guard, lambda: True, lambda: answer, time.monotonic())
    )
    keeper.start()
    began = time.monotonic()
    assert problem in guards.Guards([described(guard)]).confirm()
    assert time.monotonic() - began < 50, "and not by the next renewal, in a hundred seconds"
    hold.shutil.rmtree(guard.file.parent, ignore_errors=True)  # the keeper may remove it first
    keeper.join(timeout=10)
    assert not keeper.is_alive()


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(seconds: int, release: bool) -> subprocess.Popen[str]:
        playbook = tmp_path / "hold.yml"
        values = {"folder": tmp_path, "seconds": seconds, "release": str(release).lower()}
        playbook.write_text(PLAYBOOK.format(**values))
        binary = Path(sys.executable).with_name("ansible-playbook")
        process = subprocess.Popen(
            [
                *(str(binary), "-i", "localhost,", "-c", "local", str(playbook)),
                *("-e", f"ansible_python_interpreter={sys.executable}"),
            ],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_ACTION_PLUGINS": "roles/netem/action_plugins"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)


def renewals(folder: Path) -> int:
    path = folder / "renewed"
    return len(path.read_text().splitlines()) if path.exists() else 0


def wait_for_renewals(process: subprocess.Popen[str], folder: Path, count: int) -> Path:
    """Wait for renewals; return the keeper's state folder."""
    deadline = time.monotonic() + 60
    while renewals(folder) < count or not (folder / "file").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return Path((folder / "file").read_text()).parent


def test_a_killed_controller_renews_nothing_any_more(
    controller: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = controller(600, False)
    state = wait_for_renewals(process, tmp_path, 6)
    assert state.exists()
    os.killpg(process.pid, signal.SIGKILL)
    # Its output closes with it: no keeper holds it open.
    killed = time.monotonic()
    while state.exists():
        assert time.monotonic() - killed < 5
        time.sleep(0.01)
    count = renewals(tmp_path)
    time.sleep(1)
    assert renewals(tmp_path) == count
    process.communicate(timeout=5)


def test_a_released_host_is_let_go_while_the_controller_lives(
    controller: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = controller(2, True)
    state = wait_for_renewals(process, tmp_path, 2)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0, output
    assert not state.exists()
