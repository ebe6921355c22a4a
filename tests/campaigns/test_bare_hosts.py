"""Debian 12 and 13 with nothing of ours: provisioned twice, measured, deprovisioned."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import namespaces
from tests.campaigns.bare_machines import (
    ACCOUNT,
    PASSWORD,
    Lab,
    Machine,
    missing,
    served,
    up,
)
from tests.campaigns.conftest import Findings
from tests.playbooks.conftest import ROOT, Play, run_playbook

TIMEOUT_S = 7200
HOUSE = ROOT / ".cache/wheelhouse/server"
# The first one's sudo asks nobody, its umask is closed, and its wheels come from the index but for
# PyTorch's. The second one's sudo asks; its wheels are those of wheelhouse.yml, on a stick.
CLOSED = f"""\
echo '{ACCOUNT} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{ACCOUNT}
echo 'session optional pam_umask.so umask=0077' >>/etc/pam.d/common-session
"""
# Some 3 GB, which the network of User Mode Linux does not survive.
STICK = f"""\
mkdir /media/wheels
echo 'none /media/wheels hostfs ro,{HOUSE} 0 0' >>/etc/fstab
"""
MACHINES = (
    Machine("pi1", "bookworm", 11, CLOSED, asks=False),
    Machine("server", "trixie", 12, STICK, asks=True),
)
SWEEP = "bare"
CELL = (
    "model=mobilenetv2 image=32 pairings=pi_to_gpu scenarios=metro splits=10 repeats=1 "
    f"first_report=0 end_points=false sentinel=false profile=false sweep={SWEEP}"
)
# What is there that neither Debian's packages nor the running system brought.
TRACES = r"""
export LC_ALL=C
cd /
dpkg-query --show --showformat '${binary:Package}\n' | xargs dpkg-query --listfiles |
  sed -E 'p; s#^/(bin|sbin|lib)#/usr/&#; s#/usr//#/usr/#' | sort -u >/run/packaged
find / -xdev '(' -path /var/log -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/apt \
  -o -path /var/lib/systemd -o -name __pycache__ ')' -prune -o -print | sort |
  comm -23 - /run/packaged | xargs -d '\n' stat -c 'file %A %U %n'
rm /run/packaged
sed 's/^/account /' /etc/passwd /etc/group
systemctl list-units --all --plain --no-legend --type=service,timer,socket,path |
  awk '{print "unit", $1, $3}'
systemctl list-unit-files --no-legend --state=enabled,masked | sed 's/^/enabled /'
for key in /proc/sys/net/ipv4/tcp_* /proc/sys/net/core/*; do
  echo "sysctl $key $(cat $key 2>/dev/null)"
done
tc qdisc show | sed 's/^/qdisc /'
ip -o link | awk '{print "link", $2}'
ss -Hltun | awk '{print "listens", $5}'
if command -v nft >/dev/null; then nft list ruleset | sed 's/^/nft /'; fi
"""
# Ansible's own, what packages make when they are installed, and what a running system changes.
THEIRS = re.compile(
    r"/\.ansible|/etc/alternatives/|/etc/ld\.so\.cache|systemd-private-|/tcp_mem |"
    r"^unit (systemd-|ldconfig)"
)


class Walk:
    """Playbooks on the machines, each a line of the findings."""

    def __init__(self, lab: Lab, inventory: Path, findings: Findings) -> None:
        self.lab, self.inventory, self.findings = lab, inventory, findings

    def play(self, name: str, options: str = "", *words: str) -> Play:
        began = time.monotonic()
        extra = ("-e", options) if options else ()
        inventory = ("-i", str(self.inventory))
        done = run_playbook(name, *inventory, *extra, *words, timeout_s=TIMEOUT_S)
        took = time.monotonic() - began
        told = f"{name}.yml {options}".strip()
        self.findings.add(f"{told}: status {done.status}, changed={done.changed}, {took:.0f} s")
        assert done.status == 0, done.output[-5000:]
        return done

    def traces(self) -> dict[str, set[str]]:
        return {
            name: {
                line for line in self.lab.ssh(name, TRACES).splitlines() if not THEIRS.search(line)
            }
            for name in self.lab.machines
        }


@pytest.fixture
def walk(findings: Findings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Walk]:
    monkeypatch.setenv("HOME", str(tmp_path))  # bootstrap.yml remembers keys there
    (tmp_path / ".ssh").mkdir()
    build = cpu_build()
    began = time.monotonic()
    HOUSE.mkdir(parents=True, exist_ok=True)
    with up(MACHINES, tmp_path) as lab, served(build.parent) as shop:
        findings.add(f"{len(MACHINES)} machines answer after {time.monotonic() - began:.0f} s")
        inventory = tmp_path / "hosts.yml"
        inventory.write_text(yaml.safe_dump(hosts(lab, build, shop)))
        yield Walk(lab, inventory, findings)


def cpu_build() -> Path:
    """Return the wheel of PyTorch's CPU build for Debian 12's Python; skip where pip finds none."""
    folders = [Path(word) for word in os.environ.get("PIP_FIND_LINKS", "").split()]
    wheels = [path for folder in folders for path in folder.glob("torch-*+cpu-cp311-*.whl")]
    if not wheels:
        pytest.skip("no folder in PIP_FIND_LINKS has a wheel of torch …+cpu for Python 3.11")
    return wheels[0]


def hosts(lab: Lab, build: Path, shop: str) -> dict[str, object]:
    """Return the inventory, as someone would write it for these machines."""
    known: dict[str, dict[str, object]] = {
        name: {"ansible_host": machine.address, "experiment_ip": machine.address}
        for name, machine in lab.machines.items()
    }
    known["pi1"] |= {
        "runtime_pip_extra_args": shop,
        "runtime_versions": {"torch": build.name.split("-")[1]},
    }
    known["server"] |= {
        "ansible_become_password": PASSWORD,
        "runtime_pip_extra_args": "--no-index --find-links /media/wheels",
    }
    return {
        "all": {
            "vars": {
                "ansible_user": ACCOUNT,
                "ansible_become": True,
                "ansible_python_interpreter": "/usr/bin/python3",
                "ansible_ssh_private_key_file": str(lab.key),
                "ansible_ssh_common_args": " ".join(lab.options),
                "experiment_interface": "vec0",
            }
        },
        "controller": {
            "hosts": {"localhost": None},
            "vars": {
                "ansible_connection": "local",
                "ansible_become": False,
                "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            },
        },
        "orchestrator": {"hosts": {"server": known["server"]}},
        "workers": {"hosts": {"pi1": known["pi1"], "server": None}},
        "netem_hosts": {"hosts": {"pi1": None}},
    }


@pytest.mark.timeout(TIMEOUT_S + 60)
@pytest.mark.skipif(missing() is not None, reason=missing() or "")
@namespaces.needed("ip")
def test_bare_hosts_are_provisioned_measured_and_left_as_they_were(
    walk: Walk, findings: Findings
) -> None:
    walk.play("bootstrap", "fingerprints_checked=true")
    before = walk.traces()
    walk.play("preflight", CELL)
    # All that PyTorch for x86-64 needs, CUDA too, is downloaded once for all campaigns.
    walk.play("wheelhouse", "runtime_pip_extra_args=''", "--limit", "localhost,server")
    assert walk.play("provision").changed > 0
    assert walk.play("provision").changed == 0
    assert walk.play("provision", "provision=full").changed == 0
    walk.play("full_sweep", CELL)
    walk.play("deprovision")
    assert walk.play("deprovision").changed == 0
    after = walk.traces()
    for name, seen in before.items():
        findings.add(f"{name}: {len(seen)} traces before, {len(after[name])} after")
    assert after == before
