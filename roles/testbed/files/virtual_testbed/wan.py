"""The box on pi1's uplink: a transparent bridge with an SSH server, where netem shapes the link.

Where this machine's kernel has netem, the box is a container and the bridge is the kernel's. Where
it has not, a User Mode Linux, a kernel that runs as a program and does have netem, does the same
work: same name, same interface names, same SSH access.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from .machine import UML
from .settings import WAN, Settings
from .shell import TestbedError, itself, run, system_environment

INTERFACES = ("lan0", "up0", "mg0")
UML_MODULES = Path("/usr/lib/uml/modules")
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
ETH_P_ALL = 3
# The burst that fits while the box's kernel is not running; too small a buffer loses packets.
BUFFER_BYTES = 16 * 2**20

# Fixed hardware addresses: with random ones, neighbours would remember those of an earlier boot.
UML_INIT = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
modprobe -a unix bridge sch_netem
unit=0
for name in lan0 up0 mg0; do
  ip link set vec$unit name $name address 02:70:70:00:00:0$unit mtu 1500
  ip link set $name up
  unit=$((unit + 1))
done
ip link add br0 type bridge forward_delay 0 stp_state 0
ip link set lan0 master br0
ip link set up0 master br0
ip link set br0 up
ip address add {address}/24 dev mg0
exec /lib/systemd/systemd
"""


def resolve(asked: str) -> str:
    """Decide what the box is made of: "kernel" or "uml"."""
    if asked != "auto":
        return asked
    return "kernel" if kernel_has_netem() else "uml"


def kernel_has_netem() -> bool:
    """Find out by doing, in a network namespace that ends with the attempt."""
    return run("unshare", "--net", *itself("try-netem"), check=False).returncode == 0


def prepare_root(settings: Settings, root: Path) -> None:
    """Put what a User Mode Linux needs to start into the box's root."""
    start = root / "uml-init"
    start.write_text(UML_INIT.format(address=settings.management_address(WAN)))
    start.chmod(0o755)
    modules = root / "lib/modules"
    modules.mkdir(exist_ok=True)
    for folder in UML_MODULES.iterdir():
        (modules / folder.name).symlink_to(folder)


def uml_command(settings_json: str) -> tuple[str, ...]:
    """Return the command that becomes the User Mode Linux, in the box's network namespace."""
    return ("nsenter", f"--net=/run/netns/{WAN}", *itself("become-uml", settings_json))


def become_uml(settings: Settings) -> None:
    """Open the box's interfaces and replace this process by the User Mode Linux."""
    descriptors = [_open_interface(name) for name in INTERFACES]
    base = settings.folder / WAN
    vectors = (f"vec{unit}:transport=fd,fd={fd}" for unit, fd in enumerate(descriptors))
    command: Sequence[str] = [
        *(UML, "mem=128M", f"umid={WAN}", f"uml_dir={base}/"),
        *("rootfstype=hostfs", f"rootflags={base}/root", "rw", "init=/uml-init", "quiet"),
        "ipv6.disable=1",
        *("con=null", "con0=null,fd:1", *vectors),
    ]
    try:
        os.execvpe(command[0], list(command), system_environment())
    except FileNotFoundError as error:
        raise TestbedError(f"the program '{UML}' is not installed") from error


def _open_interface(name: str) -> int:
    """Open a socket that takes and gives an interface's raw frames.

    It is made here and not by the User Mode Linux for two reasons. It can have a large buffer
    without a change to the whole machine's default. And it is one socket for both directions, which
    does not receive what it has sent itself; with two, frames would go round the bridge for ever.
    """
    channel = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    channel.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)  # nearly doubles the rate
    so_sndbufforce, so_rcvbufforce = 32, 33
    for option in (so_sndbufforce, so_rcvbufforce):
        channel.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    channel.bind((name, ETH_P_ALL))
    # Frames between other machines carry other machines' addresses.
    run("ip", "link", "set", name, "promisc", "on")
    channel.set_inheritable(True)
    return channel.detach()
