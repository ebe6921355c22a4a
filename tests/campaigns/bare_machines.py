"""Machines with a fresh Debian and nothing of ours, reached over SSH as an account with sudo.

Each is User Mode Linux with a disk of its own: a minimal Debian, and what any server's image has
beside it. They share a bridge in this thread's network namespace, whose way out is slirp4netns; so
nothing is changed on this machine, and all of it ends with the tests, however those end.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from roles.testbed.files.virtual_testbed import uml
from tests.campaigns.other_machine import MODULES
from tests.namespaces import own_network

CACHE = Path(__file__).parents[2] / ".cache" / "bare"
PROGRAMS = {
    "debootstrap": "debootstrap",
    "slirp4netns": "slirp4netns",
    "linux.uml": "user-mode-linux",
    "mkfs.ext4": "e2fsprogs",
    "setpriv": "util-linux",
}
# slirp4netns's network. We are the bridge.
HERE, GATEWAY, NAME_SERVER = "10.0.2.1", "10.0.2.2", "10.0.2.3"
ACCOUNT, PASSWORD = "lab", "not a secret"
# Authorities that the network around has of its own.
AUTHORITIES = Path("/usr/local/share/ca-certificates")
MEMORY_MIB, DISK = 3072, "20G"
BUILD_S, BOOT_S = 1800, 300
# No pip, no venv, and of Python nothing but itself.
INCLUDED = "systemd-sysv,dbus,udev,kmod,iproute2,openssh-server,sudo,python3,ca-certificates"
# Ends with its parent, and with it all that it starts.
TIED = ("setpriv", "--pdeathsig", "KILL")
ALONE = (*TIED, "unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc")

BUILD = f"""\
cd "$1"
debootstrap --variant=minbase --include={INCLUDED} "$2" root
cp -r {MODULES} root/lib/modules
echo "$3" >root/etc/hostname
printf '127.0.0.1 localhost\\n127.0.1.1 %s\\n' "$3" >root/etc/hosts
echo /dev/ubda / ext4 errors=remount-ro 0 1 >root/etc/fstab
echo nameserver {NAME_SERVER} >root/etc/resolv.conf
cat >root/etc/systemd/network/wired.network <<END
[Match]
Name=vec*
[Network]
Address=$4/24
Gateway={GATEWAY}
END
chroot root systemd-machine-id-setup
chroot root systemctl enable systemd-networkd
chroot root useradd --create-home --shell /bin/bash --groups sudo {ACCOUNT}
echo '{ACCOUNT}:{PASSWORD}' | chroot root chpasswd
install -d -m 0700 -o 1000 -g 1000 root/home/{ACCOUNT}/.ssh
install -m 0600 -o 1000 -g 1000 ../id.pub root/home/{ACCOUNT}/.ssh/authorized_keys
mkdir -p root{AUTHORITIES}
cp -r {AUTHORITIES}/. root{AUTHORITIES}
chmod -R u=rwX,go=rX root{AUTHORITIES}
chroot root update-ca-certificates
chroot root sh -ec "$5"
mkfs.ext4 -q -d root disk {DISK}
"""


@dataclass(frozen=True)
class Machine:
    """A machine to be; `made` is a script for its root's /bin/sh, before it first starts."""

    name: str
    release: str
    number: int
    made: str
    asks: bool

    @property
    def address(self) -> str:
        return f"10.0.2.{self.number}"


class Lab:
    """Machines that are up, and the key to them."""

    key = CACHE / "id"

    def __init__(self, folder: Path, machines: Sequence[Machine]) -> None:
        self.machines = {machine.name: machine for machine in machines}
        known = folder / ".ssh/known_hosts"  # as bootstrap.yml fills it
        self.options = (
            *("-F", "/dev/null", "-o", f"UserKnownHostsFile={known}"),
            *("-o", "GlobalKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes"),
        )

    def ssh(self, name: str, script: str, timeout_s: float = BOOT_S) -> str:
        """Run a script for /bin/sh as root and return what it printed."""
        machine = self.machines[name]
        options = (*self.options, "-i", str(self.key), "-o", "BatchMode=yes")
        done = subprocess.run(
            ["ssh", *options, f"{ACCOUNT}@{machine.address}", "sudo -S -p '' sh -s"],
            input=f"{PASSWORD}\n{script}" if machine.asks else script,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def missing() -> str | None:
    """Return why there can be none here, in a sentence, or None."""
    if os.geteuid() != 0:
        return "disks and bridges need root: sudo make soak"
    wanted = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    return f"programs are missing: apt install {' '.join(sorted(wanted))}" if wanted else None


@contextmanager
def up(machines: Sequence[Machine], folder: Path) -> Iterator[Lab]:
    """Boot them on fresh disks and wait until each answers; `folder` is empty.

    Meanwhile this thread, and what it starts, is in their network.
    """
    lab, disks = Lab(folder, machines), [_disk(machine) for machine in machines]
    with ExitStack() as stack:
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        stack.callback(os.close, outside)
        stack.enter_context(own_network())
        _network([machine.name for machine in machines])
        inside = f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"
        way_out = ("slirp4netns", "--disable-host-loopback", "--netns-type=path", inside, "out")
        _start(
            stack,
            [*TIED, "nsenter", f"--net=/proc/self/fd/{outside}", *way_out],
            folder / "slirp4netns",
            outside,
        )
        for machine, disk in zip(machines, disks, strict=True):
            own = folder / machine.name
            own.mkdir()
            subprocess.run(["cp", "--sparse=always", disk, own / "disk"], check=True)
            _start(stack, [*ALONE, *_kernel(machine, own)], own / "console")
        for machine in machines:
            _wait_for(machine, folder)
        yield lab


@contextmanager
def served(wheels: Path) -> Iterator[str]:
    """Serve a folder of wheels to them; yield the options of pip for it."""
    port = 8000
    words = ("-m", "http.server", "--bind", HERE, "--directory", str(wheels), str(port))
    with ExitStack() as stack:
        _start(stack, [*TIED, sys.executable, *words], Path(os.devnull))
        yield f"--find-links http://{HERE}:{port}/ --trusted-host {HERE}"


def _network(names: Sequence[str]) -> None:
    """Lay a bridge with a port for each machine, and one for the way out."""
    lines = ["link add bridge type bridge", f"address add {HERE}/24 dev bridge"]
    for name in (*names, "out"):
        lines += [f"tuntap add {name} mode tap", f"link set {name} master bridge up"]
    lines += ["link set bridge up", f"route add default via {GATEWAY}"]
    for line in lines:
        subprocess.run(["ip", *line.split()], check=True, timeout=30)


def _kernel(machine: Machine, own: Path) -> list[str]:
    return [
        *(str(uml.program(own)), f"mem={MEMORY_MIB}M", f"umid={machine.name}", f"uml_dir={own}/"),
        *(f"ubd0={own}/disk", "root=/dev/ubda", "rw", "quiet", "con=null", "con0=null,fd:1"),
        # gro: buffers for what a tap gives it, which is more than one frame.
        f"vec0:transport=tap,gro=1,ifname={machine.name},mac=02:00:00:00:00:{machine.number:02x}",
    ]


def _start(stack: ExitStack, command: Sequence[str], log: Path, *passed: int) -> None:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=passed,
        )
    stack.callback(process.wait, timeout=30)
    stack.callback(process.kill)


def _wait_for(machine: Machine, folder: Path) -> None:
    deadline = time.monotonic() + BOOT_S
    asked = ["ssh-keyscan", "-T", "5", machine.address]
    while not subprocess.run(asked, capture_output=True, check=False).stdout:
        assert time.monotonic() < deadline, (folder / machine.name / "console").read_text()
        time.sleep(1)


def _disk(machine: Machine) -> Path:
    """Return the disk that its machines start from, built where there is none yet."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if not Lab.key.exists():
        make = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(Lab.key))
        subprocess.run(make, check=True)
    recipe = repr((BUILD, machine, Lab.key.read_bytes())).encode()
    built = CACHE / f"{machine.name}-{hashlib.sha256(recipe).hexdigest()[:16]}.disk"
    if built.exists():
        return built
    scratch = built.with_suffix(".building")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    words = (machine.release, machine.name, machine.address, machine.made)
    try:
        with (scratch / "log").open("wb") as output:
            subprocess.run(
                [*ALONE, "sh", "-ec", BUILD, "sh", str(scratch), *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=BUILD_S,
                check=True,
            )
        for old in CACHE.glob(f"{machine.name}-*.disk"):
            old.unlink()
        (scratch / "disk").rename(built)
    finally:
        said = (scratch / "log").read_text(errors="replace")
        shutil.rmtree(scratch)
        if not built.exists():
            print(said[-2000:])
    return built
