"""However a testbed ends, afterwards the machine is as it was."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable

import psutil
import pytest

from tests.testbed.machines import ANSWER_TIMEOUT_S, ROOT, Testbed, traces

pytestmark = [pytest.mark.testbed, pytest.mark.thorough]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"{ANSWER_TIMEOUT_S} s without {what}"
        time.sleep(0.02)


def kill_playbook(process: subprocess.Popen[bytes], spared: int | None) -> None:
    """SIGKILL a playbook with everything it has started, except for the testbed itself."""
    family = [psutil.Process(process.pid)]
    family += family[0].children(recursive=True)
    keep = {spared, *([] if spared is None else _descendants(spared))}
    for member in family:
        if member.pid not in keep:
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended by itself meanwhile
                member.kill()
    process.wait(timeout=10)


def _descendants(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def test_it_survives_its_playbook_is_replaced_when_half_dead_and_ends_as_one(
    spare: Testbed,
) -> None:
    before = traces(spare)
    small = {"cpu": 0, "cpu_percent": 50, "memory_mib": 256}
    limits = json.dumps({"testbed_limits": {name: small for name in ("pi1", "pi2", "server")}})
    with subprocess.Popen(
        spare.command(limits), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if b"program: verify" in line:
                break
        root = spare.root_process
        kill_playbook(process, spared=root)
    assert spare.ping() == {"pi1", "pi2", "server", "wan"}
    assert "changed=0" in spare.play(limits)

    greedy = "python3 -c 'print(len(bytearray(400 * 2**20)))'"
    assert spare.ssh("pi1", greedy, check=False) == "", "the memory limit does not hold"

    spare.ssh("pi2", "systemctl poweroff", check=False)
    printed = spare.play(limits)
    assert "pi2 does not answer" in printed
    assert "changed=1" in printed
    assert spare.root_process != root

    os.kill(spare.root_process, signal.SIGKILL)

    def all_dead() -> bool:
        # Ansible's lingering connections are this machine's; they end with `absent`.
        return all(line.startswith("ssh: ") for line in traces(spare)["processes"])

    wait_until(all_dead, "the end of all its processes")
    assert traces(spare)["mounts"] == before["mounts"]
    assert "changed=1" in spare.play("testbed_state=absent")
    assert traces(spare) == before
    assert "changed=0" in spare.play("testbed_state=absent")


@pytest.mark.parametrize("wait_s", [0.0, 0.7])
def test_a_start_killed_half_way_leaves_nothing(spare: Testbed, wait_s: float) -> None:
    before = traces(spare)
    with subprocess.Popen(
        spare.command(), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        wait_until((spare.folder / "state.json").exists, "a start")
        time.sleep(wait_s)
        kill_playbook(process, spared=None)
    spare.play("testbed_state=absent")
    assert traces(spare) == before
