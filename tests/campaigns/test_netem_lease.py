"""The lease of a shaped link: what is left when the controller is killed, and what was measured.

Needs the virtual testbed for itself. 20 controllers shape an interface of the box on pi1's uplink
and are killed at random moments: half on the experiment's interface, half, both ways, on SSH's.
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.campaigns.conftest import Findings

ROOT = Path(__file__).parents[2]
ROUNDS, LEASE_S, GRACE_S, DELAY_MS, SEED = 20, 30, 2.0, 200, 1
BOX, PEER = "10.79.0.2", "10.79.0.10"  # on the management network
# Seconds between two looks at the qdisc, and at SSH. Each costs the box's emulated kernel a few
# processes: much more often, and they keep it from renewing the lease in time.
LOOK_S, CONNECT_S = 0.5, 1.0
FOREIGN = "tc qdisc add dev lan0 root handle 1: tbf rate 1gbit burst 1mb latency 9ms"
APART = {"netem_interface": "up0", "netem_asked": {"rate": "5mbit"}}
SHARED = {
    "netem_interface": "mg0",
    "netem_asked": {"direction": "symmetric"},
    "netem_peer_addresses": [PEER],
}
CONNECT = (
    "import socket,time; b=time.monotonic(); "
    f"socket.create_connection(('{BOX}',22)).close(); print(time.monotonic()-b)"
)
CONDITIONS = (
    "rate=5mbit",
    "delay=200ms rate=5mbit",
    "delay=50ms jitter=10ms",
    "delay=50ms jitter=10ms distribution=normal",
    "delay=50ms jitter=10ms distribution=pareto",
    "delay=50ms jitter=10ms distribution=paretonormal",
    "loss=5%",
    "delay=20ms loss=10%",
    "delay=100ms rate=5mbit direction=symmetric",
    "delay=50ms jitter=10ms loss=5% rate=20mbit direction=symmetric",
)


@pytest.fixture(scope="module")
def on() -> Iterator[Callable[[str, str], str]]:
    """Return a function that runs a shell line on a host of the clean testbed."""
    play("playbooks/testbed.yml")
    play("playbooks/reset.yml")

    def run(host: str, line: str) -> str:
        words = [host, "-m", "ansible.builtin.shell", "-a", line]
        done = subprocess.run(
            [binary("ansible"), *words], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        return done.stdout.partition("\n")[2].strip()

    yield run
    play("playbooks/reset.yml")


@pytest.mark.timeout(3600)
def test_a_killed_controller_leaves_no_shaping(
    on: Callable[[str, str], str], findings: Findings
) -> None:
    source = random.Random(SEED)
    untouched = "tc qdisc show dev lan0"
    on("wan", FOREIGN)
    foreign = on("wan", untouched)
    assert "tbf 1: root" in foreign
    before = everything(on)
    gone_s, connects_s, undisturbed_s = [], [], []
    try:
        for number in range(1, ROUNDS + 1):
            asked = (APART, SHARED)[number % 2]
            with connecting() as quiet:
                time.sleep(5)
            with watching(asked["netem_interface"]) as shaped, connecting() as seen:
                controller = hold(asked)
                try:
                    assert any("Pausing for" in line for line in controller.stdout or ())
                    if asked is SHARED:
                        check_shared(on)
                    time.sleep(source.uniform(0, LEASE_S / 3))
                    assert shaped(), "it is held as long as its controller lives"
                finally:
                    orphans = psutil.Process(controller.pid).children(recursive=True)
                    controller.kill()
                    killed = time.monotonic()
                    controller.wait()
                wait_until(shaped, False, LEASE_S + 10)
                gone_s.append(time.monotonic() - killed)
                for orphan in orphans:  # Ansible's worker would wait for it
                    with suppress(psutil.NoSuchProcess):
                        orphan.kill()
                controller.communicate()
            connects_s += seen
            undisturbed_s += quiet
            assert everything(on) == before
            assert on("wan", untouched) == foreign
            findings.add(
                f"round {number:>2} {asked['netem_interface']}: gone {gone_s[-1]:5.2f} s after the "
                f"kill; {len(seen)} times SSH answered within {1e3 * max(seen):.0f} ms"
            )
    finally:
        on("wan", "tc qdisc del dev lan0 root")
    late = sum(gone > LEASE_S + GRACE_S for gone in gone_s)
    shaped_ms, quiet_ms = (1e3 * statistics.median(each) for each in (connects_s, undisturbed_s))
    findings.add(
        f"{ROUNDS} kills, lease {LEASE_S} s: {late} times shaped for longer than {LEASE_S} + "
        f"{GRACE_S:.0f} s, latest {max(gone_s):.2f} s; a foreign qdisc beside it untouched "
        f"{ROUNDS} times"
    )
    findings.add(
        f"SSH answered {len(connects_s)} times meanwhile, in {shaped_ms:.1f} ms (median; unshaped "
        f"{quiet_ms:.1f}), {1e3 * max(connects_s):.0f} at most ({1e3 * max(undisturbed_s):.0f}); "
        f"the delay was {DELAY_MS} ms"
    )
    assert not late
    # Shaped traffic takes the delay at least.
    assert max(connects_s) < 1e-3 * DELAY_MS / 2
    assert shaped_ms < quiet_ms + 2


@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("on")
def test_what_is_asked_is_measured(findings: Findings) -> None:
    refused = 0
    for asked in CONDITIONS:
        done = subprocess.run(
            [binary("ansible-playbook"), "playbooks/netem.yml", "-e", asked],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        findings.add(f"asked {asked}{'' if done.returncode == 0 else ': NOT MET'}")
        table = re.search(r"( *from pi1 to.*?)\n *Rates are", done.stdout, re.DOTALL)
        for line in table[1].split("\n") if table else done.stdout.split("\n")[-20:]:
            findings.add(f"  {line.strip()}")
        refused += done.returncode != 0
    findings.add(f"{len(CONDITIONS)} conditions asked, {refused} not met")
    assert not refused


def check_shared(on: Callable[[str, str], str]) -> None:
    """Check that the peer's pings are shaped both ways, and its SSH is not."""
    found = re.findall(r"time=([0-9.]+)", on("server", f"ping -n -c 2 {BOX}"))
    assert float(found[-1]) == pytest.approx(2 * DELAY_MS, rel=0.1)
    assert float(on("server", f'python3 -c "{CONNECT}"')) < 1e-3 * DELAY_MS / 2


def everything(on: Callable[[str, str], str]) -> str:
    """Return the box's qdiscs except the kernel's, filters, devices and leases."""
    listed = "ip -o link show | cut -d: -f2; systemctl list-timers --all --no-legend 'paretopipe*'"
    filters = "for d in up0 mg0; do tc filter show dev $d; tc filter show dev $d ingress; done"
    return on("wan", f"tc qdisc show | grep -v ' 0: '; {filters}; {listed}")


def hold(asked: dict[str, Any]) -> subprocess.Popen[str]:
    """Start a controller that shapes, and holds the lease until killed."""
    netem = {**asked["netem_asked"], "delay": f"{DELAY_MS}ms"}
    values = {**asked, "netem_asked": netem, "netem_lease": f"{LEASE_S}s", "netem_hold": True}
    return subprocess.Popen(
        [
            *(binary("ansible-playbook"), "tests/campaigns/hold_netem.yml"),
            *("-e", json.dumps(values)),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@contextmanager
def watching(interface: str) -> Iterator[Callable[[], bool]]:
    """Watch the interface over a separate SSH; yield whether it is shaped."""
    shown = f'case "$(tc qdisc show dev {interface})" in *5a5a:*) echo yes;; *) echo no;; esac'
    line = f"while sleep {LOOK_S}; do {shown}; done"
    state = ROOT / ".testbed/0"
    known = f"UserKnownHostsFile={state}/known_hosts"
    ssh = ["ssh", "-F", "/dev/null", "-o", known, "-o", "BatchMode=yes", "-i", f"{state}/id"]
    process = subprocess.Popen(
        [*ssh, f"root@{BOX}", line],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        # ssh would make our stderr non-blocking, which Ansible refuses.
        stderr=subprocess.DEVNULL,
        text=True,
    )
    latest = [""]

    def read() -> None:
        assert process.stdout is not None
        for shown in process.stdout:
            latest[0] = shown

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield lambda: latest[0] == "yes\n"
    finally:
        process.kill()
        reader.join()
        process.communicate()


@contextmanager
def connecting() -> Iterator[list[float]]:
    """Connect to the box's SSH repeatedly; yield the greeting times."""
    taken_s: list[float] = []
    over = threading.Event()

    def connect() -> None:
        while not over.wait(CONNECT_S):
            began = time.monotonic()
            with socket.create_connection((BOX, 22), timeout=10) as connection:
                taken_s.append(time.monotonic() - began)
                connection.recv(1)

    thread = threading.Thread(target=connect)
    thread.start()
    try:
        yield taken_s
    finally:
        over.set()
        thread.join()


def wait_until(holds: Callable[[], bool], wanted: bool, at_most_s: float) -> None:
    deadline = time.monotonic() + at_most_s
    while holds() != wanted:
        assert time.monotonic() < deadline, f"not {wanted} in {at_most_s} s"
        time.sleep(0.02)


def play(path: str) -> None:
    subprocess.run([binary("ansible-playbook"), path], cwd=ROOT, check=True, timeout=900)


def binary(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
