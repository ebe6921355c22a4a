"""Checks before a testbed is made; each error is one sentence.

Whether this machine can carry one is tried out, in a fraction of a second: nothing needs to be
installed, and attempts run in temporary namespaces.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import struct
import sys
import tempfile
from pathlib import Path

from . import cgroups
from .settings import CONTROLLER, Settings
from .shell import PREFIX, SYSTEM_PATH, TestbedError, forward, itself, reason, run
from .uml import UML

NODE_PYTHON = "/usr/bin/python3"
NODE_PYTHON_MIN = (3, 11)
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
    NODE_PYTHON: "python3",
}
# The namespaces of a testbed's root process.
NAMESPACES = (
    *("unshare", "--pid", "--net", "--mount", "--ipc", "--uts", "--propagation", "private"),
    *("--fork", "--kill-child", "--mount-proc"),
)
CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")
ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")


def check(state_root: Path) -> None:
    """Raise TestbedError, with the reason, where no testbed can run.

    `state_root`, for the hosts' writable layers, may not exist yet.
    """
    if not sys.platform.startswith("linux"):
        raise TestbedError("it is made of Linux namespaces, and this is another system")
    if os.geteuid() != 0:
        sudo = "sudo -E" if forward() else "sudo"  # -E keeps proxy variables
        raise TestbedError(f"it makes namespaces and mounts, which needs root ({sudo} make …)")
    if Path("/proc/self/uid_map").read_text().split() != ["0", "0", str(2**32 - 1)]:
        raise TestbedError(
            "root here is root of a user namespace only, as in a rootless container: use real root"
        )
    if not _is_installed("dpkg-query"):
        raise TestbedError(
            "its hosts stand on this machine's own system, which has to be Debian or made from it"
        )
    _check_root_file_system()
    _check_python()
    cgroups.check()
    _try(state_root)


def _check_root_file_system() -> None:
    mounted = {words[4] for words in _mounts()}
    for folder in ("/usr", "/etc", "/opt"):
        if folder in mounted:
            raise TestbedError(
                f"{folder} is a file system of its own, but the hosts' roots are overlays of / "
                "alone: use a machine or virtual machine with one root file system"
            )


def _check_python() -> None:
    if not Path(NODE_PYTHON).exists():
        return
    said = run(NODE_PYTHON, "-c", "import sys; print(*sys.version_info[:2])").stdout
    if tuple(map(int, said.split())) < NODE_PYTHON_MIN:
        raise TestbedError(
            f"its hosts use this machine's {NODE_PYTHON}, which is {said.strip().replace(' ', '.')}"
            ": 3.11 or newer is needed, so a newer release of this system"
        )


def _try(state_root: Path) -> None:
    there = next(folder for folder in (state_root, *state_root.parents) if folder.is_dir())
    try:
        scratch = tempfile.mkdtemp(prefix=".pptb-try-", dir=there)
    except OSError as error:
        raise TestbedError(f"nothing can be written to {there}: {error.strerror}") from error
    try:
        result = run(*NAMESPACES, *itself("try-inside", scratch), check=False)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if result.returncode != 0:
        said = result.stderr.strip().splitlines() or ["no message"]
        if said[-1].startswith(PREFIX):
            raise TestbedError(said[-1].removeprefix(PREFIX))
        raise TestbedError(
            f"namespaces are refused here, even to root ({said[-1]}), as in most containers: use "
            "a machine or a virtual machine"
        )
    found = json.loads(result.stdout)
    if not (found["netem"] or _is_installed(UML) or _uml_is_packaged()):
        raise TestbedError(
            "its link is shaped by netem, which this kernel has not (sch_netem; for Ubuntu's: apt "
            f"install linux-modules-extra-{platform.release()}), and User Mode Linux, which would "
            "stand in, is packaged for Debian on x86-64 only"
        )
    if not (found["cubic"] or os.access(ALLOWED, os.W_OK)):
        raise TestbedError(
            "its hosts need TCP's cubic, which this container may not allow them: "
            "on the machine around it, run sysctl net.ipv4.tcp_congestion_control=cubic"
        )


def try_inside(scratch: Path) -> dict[str, object]:
    """Try what a testbed does in its namespaces."""
    _try_overlay(scratch)
    return {"netem": kernel_has_netem(), "cubic": _can_be_cubic()}


def _try_overlay(scratch: Path) -> None:
    upper, work, root = (scratch / name for name in ("upper", "work", "root"))
    for folder in (upper, work, root):
        folder.mkdir()
    options = f"lowerdir=/,upperdir={upper},workdir={work},volatile"
    mount = ("mount", "-t", "overlay", "overlay", "-o", options, str(root))
    try:
        os.setxattr(upper, "trusted.pptb", b"y")
        result = run(*mount, check=False)
        why = reason(result.stderr).removeprefix(f"mount: {root}: ") if result.returncode else ""
    except OSError as error:
        why = f"extended attributes: {error.strerror}"
    if why:
        raise TestbedError(
            f"no overlay of / can be laid on {scratch.parent}, which is {_file_system(scratch)} "
            f"({why.rstrip('.')}): put the checkout on ext4, xfs or btrfs, in a container on a "
            "volume"
        )


def _file_system(path: Path) -> str:
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    return next((words[words.index("-") + 1] for words in _mounts() if words[2] == wanted), "odd")


def _mounts() -> list[list[str]]:
    """Split mountinfo's lines; os.path.ismount() misses bind mounts."""
    return [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def _can_be_cubic() -> bool:
    """Say whether a network namespace may use cubic; a machine-wide list decides."""
    try:
        CONGESTION.write_text("cubic")
    except OSError:
        return False
    return True


def _uml_is_packaged() -> bool:
    """Say whether apt has User Mode Linux: Debian does, Ubuntu does not."""
    try:
        system = platform.freedesktop_os_release()["ID"]
    except (OSError, LookupError):
        return False
    return system == "debian" and platform.machine() in {"x86_64", "i686"}


def kernel_has_netem() -> bool:
    """Try netem on this network namespace's loopback interface.

    Listing modules would mislead (built in, not loadable), and `tc` may be missing, so this sends
    the rtnetlink(7) request itself.
    """
    new_qdisc, request_acknowledge_create, kind, options = 36, 0x405, 1, 2
    to_root_of_loopback = struct.pack("=BxxxiIII", socket.AF_UNSPEC, 1, 0, 0xFFFFFFFF, 0)
    no_impairment = struct.pack("=6I", 0, 1000, 0, 0, 0, 0)
    body = to_root_of_loopback
    for number, value in ((kind, b"netem\0"), (options, no_impairment)):
        body += struct.pack("=HH", 4 + len(value), number) + value + b"\0" * (-len(value) % 4)
    header = struct.pack("=IHHII", 16 + len(body), new_qdisc, request_acknowledge_create, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as channel:
        channel.settimeout(5)
        try:
            channel.sendall(header + body)
            answer = channel.recv(4096)
        except OSError:
            return False
    return struct.unpack_from("=i", answer, 16) == (0,)


def check_settings(settings: Settings) -> None:
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
    missing = {package for program, package in wanted.items() if not _is_installed(program)}
    ensurepip = (NODE_PYTHON, "-c", "import ensurepip")
    if "python3" in missing or run(*ensurepip, check=False).returncode != 0:
        missing.add("python3-venv")
    return sorted(missing)


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
    network = f"{settings.management_address(CONTROLLER).rpartition('.')[0]}.0/24"
    routes = run("ip", "-4", "route", "show", "root", network).stdout.strip()
    if routes:
        raise TestbedError(
            f"{network} is in use on this machine ({routes.splitlines()[0].strip()}): choose "
            f"another testbed with -e testbed_id={settings.id + 1}"
        )


def _is_installed(program: str) -> bool:
    return shutil.which(program, path=SYSTEM_PATH) is not None
