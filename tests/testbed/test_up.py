"""What a testbed that is up offers."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path

import pytest

from tests.testbed.machines import ANSWER_TIMEOUT_S, ROOT, Testbed, shared, traces

pytestmark = pytest.mark.testbed
HOSTS = ("server", "pi1", "pi2")


def rtt_ms(testbed: Testbed, source: str, number: int) -> float:
    said = testbed.ssh(source, f"ping -q -c 5 -i 0.1 -W 2 10.78.{testbed.id}.{number}")
    found = re.search(r"= [\d.]+/([\d.]+)/", said)
    assert found, said
    return float(found[1])


def test_a_second_run_finds_nothing_to_do(testbed: Testbed) -> None:
    before = testbed.root_process
    assert "changed=0" in testbed.play()
    assert "answer over SSH" in testbed.play("testbed_state=verify")
    assert testbed.root_process == before


@pytest.mark.parametrize("name", [*HOSTS, "wan"])
def test_every_machine_is_a_booted_debian_host(testbed: Testbed, name: str) -> None:
    assert testbed.ssh(name, "hostname") == name
    assert testbed.ssh(name, "systemctl is-system-running --wait") == "running"
    assert testbed.ssh(name, "systemd-run --quiet --wait --pipe echo from-a-unit") == "from-a-unit"


@pytest.mark.parametrize("name", HOSTS)
def test_a_host_is_a_node(testbed: Testbed, name: str) -> None:
    addresses = testbed.ssh(name, "ip -br -4 address")
    assert re.search(rf"eth0\S* +UP +10\.78\.{testbed.id}\.", addresses)
    assert re.search(rf"mgmt0\S* +UP +10\.79\.{testbed.id}\.", addresses)
    assert testbed.ssh(name, "sysctl -n net.ipv4.tcp_congestion_control") == "cubic"
    python = "/opt/paretopipe/venv/bin/python -c 'import torch; print(int(torch.ones(3).sum()))'"
    assert testbed.ssh(name, python) == "3"
    # Ansible makes one for itself; nothing is this machine's own.
    assert set(testbed.ssh(name, "ls -A /root").split()) <= {".ansible", ".ssh"}


def test_another_checkout_may_not_touch_it(testbed: Testbed, tmp_path: Path) -> None:
    elsewhere = f"testbed_state_dir={tmp_path}"
    for state in ("present", "absent"):
        said = testbed.play(f"testbed_state={state}", elsewhere, succeed=False)
        assert f"testbed {testbed.id} is up and belongs to {ROOT}" in said
    assert testbed.ping() == {"server", "pi1", "pi2", "wan"}


def test_ssh_is_on_the_management_network_only(testbed: Testbed) -> None:
    listening = testbed.ssh("pi1", "ss -Hltn").split()
    assert f"10.79.{testbed.id}.11:22" in listening
    assert not [word for word in listening if word.endswith(":22") and "10.79." not in word]


def test_the_controller_is_not_on_the_measured_network(testbed: Testbed) -> None:
    with pytest.raises(OSError, match="Cannot assign"), socket.socket() as probe:
        probe.bind((f"10.78.{testbed.id}.1", 0))


def test_a_pi_has_half_a_processor(testbed: Testbed) -> None:
    busy = (
        "import time; start, used = time.perf_counter(), time.process_time()\n"
        "while time.perf_counter() - start < 1: pass\n"
        "print(time.process_time() - used)"
    )
    seconds = float(testbed.ssh("pi1", f"python3 -c '{busy}'"))
    assert 0.2 < seconds < 0.65  # less where the machine is busy
    assert testbed.ssh("pi1", "nproc") == "1"


def test_a_hardened_unit_works(testbed: Testbed) -> None:
    properties = (
        "DynamicUser=yes LoadCredential=key:/etc/hostname CapabilityBoundingSet= PrivateTmp=yes "
        "NoNewPrivileges=yes ProtectSystem=strict ProtectHome=yes PrivateDevices=yes UMask=0077 "
        "ProtectKernelTunables=yes ProtectControlGroups=yes ProtectProc=invisible "
        "RestrictNamespaces=yes SystemCallFilter=@system-service MemoryDenyWriteExecute=yes"
    )
    flags = " ".join(f"--property={word}" for word in properties.split())
    shell = "sh -c 'cat $CREDENTIALS_DIRECTORY/key; touch /usr/x 2>&1; ls -A /tmp'"
    said = testbed.ssh("pi1", f"systemd-run --quiet --wait --collect --pipe {flags} {shell}")
    assert said.splitlines()[0] == "pi1"
    assert "Read-only file system" in said


def test_a_unit_can_be_fenced_off_the_network(testbed: Testbed) -> None:
    connect = f"timeout 1 bash -c '</dev/tcp/10.79.{testbed.id}.10/22' && echo connected"
    unit = "systemd-run --quiet --wait --collect --pipe"
    assert "connected" in testbed.ssh("pi1", f'{unit} bash -c "{connect}"', check=False)
    fenced = f'{unit} --property=IPAddressDeny=any bash -c "{connect}"'
    assert "connected" not in testbed.ssh("pi1", fenced, check=False)


def test_netem_on_the_link_delays_pi1_and_nobody_else(testbed: Testbed) -> None:
    if not testbed.ssh("wan", "tc qdisc replace dev up0 root netem delay 50ms && echo yes"):
        pytest.skip("neither this kernel nor the link's box has netem")
    try:
        assert 50 <= rtt_ms(testbed, "pi1", 10) < 60
        assert 50 <= rtt_ms(testbed, "pi1", 12) < 60
        assert rtt_ms(testbed, "pi2", 10) < 5
    finally:
        testbed.ssh("wan", "tc qdisc delete dev up0 root")
    assert rtt_ms(testbed, "pi1", 10) < 5


@pytest.mark.last
def test_a_host_can_reboot(testbed: Testbed) -> None:
    before = testbed.ssh("pi2", "stat -c %Y /proc/1")
    testbed.ssh("pi2", "touch /var/lib/stays; systemctl reboot", check=False)
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while testbed.ssh("pi2", "stat -c %Y /proc/1", check=False) in {"", before}:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    testbed.ssh("pi2", "systemctl is-system-running --wait && ls /var/lib/stays")


@pytest.mark.last
def test_taken_down_it_leaves_nothing(testbed: Testbed) -> None:
    """Whatever the tests did on it, the machine is as it was."""
    before = shared()[1]
    if before is None:
        pytest.skip("testbed 0 was up before the tests, and stays: `make down` takes it away")
    assert "changed=1" in testbed.play("testbed_state=absent")
    assert traces(testbed) == before
    assert "changed=0" in testbed.play("testbed_state=absent")
    shared.cache_clear()
