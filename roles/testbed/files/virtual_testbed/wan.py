"""The link's box on pi1's uplink, or several: transparent bridges with SSH, shaped by netem.

A container where this machine's kernel has netem, else User Mode Linux, a kernel run as a program;
interface names and SSH access are the same.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from .settings import WAN, Settings
from .shell import itself, run, system_environment
from .uml import program

UML_MODULES = Path("/usr/lib/uml/modules")
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
ETH_P_ALL = 3
# Holds bursts while the box's kernel is not scheduled; smaller buffers lose packets.
BUFFER_BYTES = 16 * 2**20

# Fixed MAC addresses, as neighbours cache those of an earlier boot.
UML_INIT = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
modprobe -a unix bridge sch_netem
unit=0
for name in {interfaces}; do
  ip link set vec$unit name $name address 02:70:70:00:00:0$unit mtu 1500
  ip link set $name up
  unit=$((unit + 1))
done
for number in {numbers}; do
  ip link add br$number type bridge forward_delay 0 stp_state 0
  ip link set lan$number master br$number
  ip link set up$number master br$number
  ip link set br$number up
done
ip address add {address}/24 dev mg0
exec /lib/systemd/systemd
"""


def resolve(asked: str) -> str:
    """Resolve "auto" to "kernel" or "uml"."""
    if asked != "auto":
        return asked
    return "kernel" if kernel_has_netem() else "uml"


def kernel_has_netem() -> bool:
    """Try netem in a temporary network namespace."""
    return run("unshare", "--net", *itself("try-netem"), check=False).returncode == 0


def prepare_root(settings: Settings, root: Path) -> None:
    start = root / "uml-init"
    start.write_text(
        UML_INIT.format(
            interfaces=" ".join(interfaces(settings)),
            numbers=" ".join(str(number) for number, _ in enumerate(settings.boxed)),
            address=settings.management_address(WAN),
        )
    )
    start.chmod(0o755)
    modules = root / "lib/modules"
    modules.mkdir(exist_ok=True)
    for folder in UML_MODULES.iterdir():
        (modules / folder.name).symlink_to(folder)


def interfaces(settings: Settings) -> tuple[str, ...]:
    return (*(name for sides in settings.ways for name in sides), "mg0")


def uml_command(settings_json: str) -> tuple[str, ...]:
    """Return the command that runs `become_uml` in the box's namespace."""
    return ("nsenter", f"--net=/run/netns/{WAN}", *itself("become-uml", settings_json))


def become_uml(settings: Settings) -> None:
    """Open the box's interfaces and exec User Mode Linux."""
    descriptors = [_open_interface(name) for name in interfaces(settings)]
    base = settings.folder / WAN
    vectors = (f"vec{unit}:transport=fd,fd={fd}" for unit, fd in enumerate(descriptors))
    command = [
        *(str(program(base)), "mem=128M", f"umid={WAN}", f"uml_dir={base}/"),
        *("rootfstype=hostfs", f"rootflags={base}/root", "rw", "init=/uml-init", "quiet"),
        "ipv6.disable=1",
        *("con=null", "con0=null,fd:1", *vectors),
    ]
    os.execvpe(command[0], command, system_environment())


def _open_interface(name: str) -> int:
    """Open a raw packet socket on an interface, for both directions.

    Unlike User Mode Linux's own, it has a large buffer without a machine-wide setting, and does not
    receive its own frames, which would loop through the bridge for ever.
    """
    channel = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    channel.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)  # nearly doubles the rate
    so_sndbufforce, so_rcvbufforce = 32, 33
    for option in (so_sndbufforce, so_rcvbufforce):
        channel.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    channel.bind((name, ETH_P_ALL))
    # A bridge sees frames for other addresses.
    run("ip", "link", "set", name, "promisc", "on")
    channel.set_inheritable(True)
    return channel.detach()
