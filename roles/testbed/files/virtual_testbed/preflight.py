"""Checks before a testbed is made; each error is one sentence."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from . import machine
from .settings import Settings
from .shell import SYSTEM_PATH, TestbedError, run
from .uml import UML

PACKAGES = {
    "systemd-nspawn": "systemd-container",
    "/lib/systemd/systemd": "systemd-sysv",
    "dbus-daemon": "dbus",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ip": "iproute2",
    "ethtool": "ethtool",
    "ping": "iputils-ping",
    "iperf3": "iperf3",
    "modprobe": "kmod",
    "sysctl": "procps",
    "nft": "nftables",
    "unshare": "util-linux",
    machine.NODE_PYTHON: "python3",
}


def check(settings: Settings) -> None:
    """Raise TestbedError for wrong settings or missing programs."""
    if not 0 <= settings.id <= 255:
        raise TestbedError(f"testbed_id is {settings.id}: choose a number from 0 to 255")
    check_programs(settings.wan)


def check_programs(link: str) -> None:
    """Raise TestbedError, with the packages to install; `scripts/where` asks this too."""
    if missing := missing_packages(link):
        raise TestbedError(f"programs are missing: run apt install {' '.join(missing)}")


def missing_packages(link: str) -> list[str]:
    """List missing Debian packages; `link` is "kernel" or "uml"."""
    wanted = PACKAGES | ({UML: "user-mode-linux"} if link == "uml" else {})
    missing = {
        package
        for program, package in wanted.items()
        if shutil.which(program, path=SYSTEM_PATH) is None
    }
    if "python3" not in missing:
        ensurepip = ("-c", "import ensurepip")
        if run(machine.NODE_PYTHON, *ensurepip, check=False).returncode != 0:
            missing.add("python3-venv")
    return sorted(missing | ({"python3-venv"} if "python3" in missing else set()))


def check_root() -> None:
    if os.geteuid() != 0:
        ansible = Path(sys.executable).parent / "ansible-playbook"
        raise TestbedError(
            "the testbed makes namespaces and mounts, which needs root: "
            f"run sudo {ansible} playbooks/testbed.yml"
        )


def check_owner(settings: Settings) -> None:
    """Raise TestbedError if another checkout's testbed of this number is up."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_text(errors="replace").split("\0")
            other = Settings.parse(json.loads(words[words.index("supervise") + 1]))
        except (OSError, ValueError, LookupError, TypeError):  # gone, or another program
            continue
        mine = other.state_root == settings.state_root
        # Without its checkout, a testbed may be replaced.
        if other.id == settings.id and not mine and other.state_root.exists():
            raise TestbedError(
                f"testbed {settings.id} is up and belongs to {other.state_root.parent}: take it "
                f"down there (make down), or use another with -e testbed_id={settings.id + 1}"
            )


def check_addresses(settings: Settings) -> None:
    """Raise TestbedError if the management network is in use."""
    network = f"{settings.controller_address.rpartition('.')[0]}.0/24"
    routes = run("ip", "-4", "route", "show", "root", network).stdout.strip()
    if routes:
        raise TestbedError(
            f"{network} is in use on this machine ({routes.splitlines()[0].strip()}): choose "
            f"another testbed with -e testbed_id={settings.id + 1}"
        )
