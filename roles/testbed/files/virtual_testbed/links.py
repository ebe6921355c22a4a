"""Network namespaces and the cables between them.

                management network 10.79.N.0/24 (bridge `mgmt`)
controller ───┬──────────┬──────────┬──────────┐
            mgmt0      mgmt0      mgmt0       mg0
           server       pi2        pi1        wan
            eth0        eth0       eth0 ─ lan0 ┘└ up0
              └──────────┴──────────────────────┘
                experiment network 10.78.N.0/24 (bridge `exp`)

Other hosts may pass the box, too, each by a bridge of its own there.

All of it ends with the testbed's root process; the machine's own namespace has one interface.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .machine import ALLOWED
from .settings import CONTROLLER, WAN, Settings
from .shell import TestbedError, run

GATEWAY = "gw"  # the testbed's end of the controller's cable
EXPERIMENT, MANAGEMENT = "exp", "mgmt"
# With offloads, netem would count 110 kB super-packets, and the link's box would see packets
# without checksums. The cables of pi2 and server keep theirs, as real network cards do; packets are
# segmented and summed where they leave for the link.
OFFLOADS = ("tso", "off", "gso", "off", "gro", "off", "tx", "off", "rx", "off")


def build(settings: Settings) -> None:
    """Lay all cables in the testbed's still empty network namespace."""
    _quiet_ipv6()
    for bridge in (EXPERIMENT, MANAGEMENT):
        _ip("link", "add", bridge, "type", "bridge", "forward_delay", "0", "stp_state", "0")
        _ip("link", "set", bridge, "up")
    for name in settings.members:
        _ip("netns", "add", name)
        _quiet_ipv6(name)
        _ip("link", "set", "lo", "up", namespace=name)
    for host in settings.hosts:
        _cable(f"{host.name}-m", MANAGEMENT, host.name, "mgmt0")
        _address(host.name, "mgmt0", settings.management_address(host.name))
        if host.name in settings.boxed:
            near, far = settings.ways[settings.boxed.index(host.name)]
            _cable(f"{host.name}-x", None, host.name, "eth0")
            _ip("link", "set", f"{host.name}-x", "netns", WAN, "name", near)
            _ip("link", "set", near, "up", namespace=WAN)
            _cable(f"wan-{far}", EXPERIMENT, WAN, far)
        else:
            _cable(f"{host.name}-x", EXPERIMENT, host.name, "eth0", offloads=True)
        _address(host.name, "eth0", settings.experiment_address(host.name))
        # Raspberry Pi OS's default. The machine's may be BBR, which differs under loss and delay.
        _sysctl("net.ipv4.tcp_congestion_control=cubic", host.name)
    _cable("wan-m", MANAGEMENT, WAN, "mg0")


def bridge_in_kernel(settings: Settings) -> None:
    """Bridge the link's sides in this machine's kernel, if it has netem."""
    for number, sides in enumerate(settings.ways):
        bridge = f"br{number}"
        _ip("link", "add", bridge, "type", "bridge", "forward_delay", "0", namespace=WAN)
        for name in sides:
            _ip("link", "set", name, "master", bridge, namespace=WAN)
        _ip("link", "set", bridge, "up", namespace=WAN)
    _address(WAN, "mg0", settings.management_address(WAN))


def connect_controller(settings: Settings, pid: int) -> None:
    """Lay the controller's cable to the network namespace of process `pid`."""
    peer = ("peer", "name", GATEWAY, "netns", str(pid))
    _ip("link", "add", settings.name, "type", "veth", *peer)
    _offloads_off(settings.name)
    address = f"{settings.management_address(CONTROLLER)}/24"
    _ip("address", "add", address, "dev", settings.name)
    _ip("link", "set", settings.name, "up")


def attach_controller() -> None:
    """Attach the controller's cable, in the testbed's namespace."""
    _offloads_off(GATEWAY)
    _ip("link", "set", GATEWAY, "master", MANAGEMENT, "up")


def disconnect_controller(settings: Settings) -> None:
    if run("ip", "link", "show", settings.name, check=False).returncode == 0:
        run("ip", "link", "delete", settings.name, check=False)


def _cable(
    near: str, bridge: str | None, namespace: str, far: str, *, offloads: bool = False
) -> None:
    """Connect a bridge of the testbed's namespace with a machine's interface."""
    _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", namespace)
    if not offloads:
        _offloads_off(near)
        _offloads_off(far, namespace)
    _ip("link", "set", far, "up", namespace=namespace)
    if bridge:
        _ip("link", "set", near, "master", bridge, "up")


def _address(namespace: str, interface: str, address: str) -> None:
    _ip("address", "add", f"{address}/24", "dev", interface, namespace=namespace)


def _ip(*arguments: str, namespace: str | None = None) -> None:
    run("ip", *(("-n", namespace) if namespace else ()), *arguments)


def _in(namespace: str | None) -> tuple[str, ...]:
    return ("nsenter", f"--net=/run/netns/{namespace}") if namespace else ()


def _offloads_off(interface: str, namespace: str | None = None) -> None:
    run(*_in(namespace), "ethtool", "-K", interface, *OFFLOADS)


def _sysctl(assignment: str, namespace: str | None = None, *, check: bool = True) -> None:
    run(*_in(namespace), "sysctl", "-qw", assignment, check=check)


def _quiet_ipv6(namespace: str | None = None) -> None:
    """Disable IPv6, as neighbour discovery adds traffic."""
    for scope in ("all", "default"):
        assignment = f"net.ipv6.conf.{scope}.disable_ipv6=1"
        _sysctl(assignment, namespace, check=False)  # a kernel without IPv6


@contextmanager
def cubic_allowed(settings: Settings) -> Iterator[None]:
    """Let namespaces choose cubic, which must be on a machine-wide list.

    The old value is saved first, so that `restore_allowed` works even after a SIGKILL.
    """
    before = ALLOWED.read_text().strip()
    if "cubic" in before.split():
        yield
        return
    _note(settings).write_text(before)
    try:
        try:
            ALLOWED.write_text(f"{before} cubic")
        except OSError as error:
            raise TestbedError(
                f"the hosts' TCP is to be cubic, and {ALLOWED} can only be '{before}' here: use "
                "cubic on the machine itself (sysctl -w net.ipv4.tcp_congestion_control=cubic)"
            ) from error
        yield
    finally:
        restore_allowed(settings)


def restore_allowed(settings: Settings) -> None:
    """Restore the saved value, if any."""
    note = _note(settings)
    if note.exists():
        before = note.read_text().strip()
        if before and ALLOWED.read_text().strip() != before:
            ALLOWED.write_text(before)
        note.unlink()


def _note(settings: Settings) -> Path:
    return settings.folder / "borrowed-sysctl"
