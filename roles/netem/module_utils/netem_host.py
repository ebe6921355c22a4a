"""The shaped host's programs, its view of an interface, and the way of the controller's SSH."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.netem_layout import shown_filters
from ansible.module_utils.netem_lease import Lease, Tools

Run = Callable[[list[str]], tuple[int, str, str]]
SSH_PORT = 22
_VARIABLE = b"SSH_CONNECTION="


class NetemError(Exception):
    """A failure as an actionable sentence."""


class Host:
    """One interface of this host; `run` returns status, output and complaint.

    `mirror` names our device for incoming traffic, present or not.
    """

    def __init__(self, interface: str, tools: Tools, run: Run) -> None:
        self.interface, self.tools, self._run = interface, tools, run
        status, said = self.ask(tools.ip, "link", "show", "dev", interface)
        if status:
            raise NetemError(
                f"this host has no interface '{interface}' ({' '.join(said.split())}): set "
                "netem_interface to one of `ip link`"
            )
        (link,) = self.listed(tools.ip, "-j", "link", "show", "dev", interface)
        self.mirror = f"ppifb{link['ifindex']}"  # a name has at most 15 letters
        self.lease = Lease(tools, interface, self.mirror)

    def ask(self, *words: str) -> tuple[int, str]:
        status, out, error = self._run([*words])
        return status, out if status == 0 else error or out

    def listed(self, *words: str) -> list[Any]:
        """Return a program's JSON; older ones print nothing for none."""
        status, said = self.ask(*words)
        words_said, line = " ".join(said.split()), " ".join([Path(words[0]).name, *words[1:]])
        if status:
            raise NetemError(f"`{line}` refused: {words_said or 'no reason given'}")
        try:
            return list(json.loads(said or "[]"))
        except ValueError as error:
            raise NetemError(
                f"`{line}` prints no JSON ({error}): {words_said[:200]} — install iproute2 there "
                "again (sudo apt install --reinstall iproute2)"
            ) from None

    def has(self, device: str) -> bool:
        return self.ask(self.tools.ip, "link", "show", "dev", device)[0] == 0

    def qdiscs(self, device: str) -> list[dict[str, Any]]:
        return self.listed(self.tools.tc, "-j", "qdisc", "show", "dev", device)

    def filters(self, parent: str) -> list[Any]:
        """Return filters' keys below one of the interface's qdiscs."""
        words = ("filter", "show", "dev", self.interface, "parent", parent)
        return shown_filters(self.ask(self.tools.tc, *words)[1])

    def armed(self) -> str:
        """Return the timer's description; "" where none runs."""
        words = ("show", "--property=ActiveState,Description", f"{self.lease.unit}.timer")
        lines = self.ask(self.tools.systemctl, *words)[1].splitlines()
        shown = dict(line.split("=", 1) for line in lines if "=" in line)
        return shown.get("Description", "") if shown.get("ActiveState") == "active" else ""

    def ssh_ports(self) -> list[int]:
        """Return SSH's ports, to be left unshaped, if the controller's is on the interface."""
        caller = ssh_client()
        if caller is None:
            return []
        device = caller.device
        if not device:
            try:
                device = self.listed(self.tools.ip, "-j", "route", "get", caller.address)[0]["dev"]
            except (NetemError, LookupError) as error:
                raise NetemError(
                    f"SSH comes from {caller.address}, and `ip route get` does not say through "
                    f"which interface, so none can be shaped safely: {error}"
                ) from None
        if not carries(self.interface, device):
            return []
        return sorted({SSH_PORT, caller.port})


@dataclass(frozen=True)
class SshClient:
    address: str
    device: str  # from a link-local address
    port: int  # of the server here


def ssh_client(proc: Path = Path("/proc")) -> SshClient | None:
    """Return the SSH client; None without SSH.

    sudo hides the variable from us, not from its parents.
    """
    pid = os.getpid()
    while pid > 1:
        try:
            environment = (proc / str(pid) / "environ").read_bytes().split(b"\0")
            status = (proc / str(pid) / "status").read_text(errors="replace")
        except OSError:
            return None
        for variable in environment:
            words = variable[len(_VARIABLE) :].decode(errors="replace").split()
            if variable.startswith(_VARIABLE) and len(words) == 4 and words[3].isdigit():
                address, _, device = words[0].partition("%")
                return SshClient(address, device, int(words[3]))
        parent = [line for line in status.splitlines() if line.startswith("PPid:")]
        pid = int(parent[0].split()[1]) if parent else 0
    return None


def carries(interface: str, device: str, devices: Path = Path("/sys/class/net")) -> bool:
    """Tell whether traffic of `device` leaves through `interface`: itself, or one below it.

    Below a bridge are its ports, below a bond or VLAN its parts.
    """
    if device == interface:
        return True
    below = [path.name[len("lower_") :] for path in (devices / device).glob("lower_*")]
    return any(carries(interface, each, devices) for each in below)
