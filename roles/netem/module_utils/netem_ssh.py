"""The route of the controller's SSH, to leave it unshaped."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PORT = 22
_VARIABLE = b"SSH_CONNECTION="


@dataclass(frozen=True)
class Client:
    address: str
    device: str  # from a link-local address
    port: int  # of the server here


def client(proc: Path = Path("/proc")) -> Client | None:
    """Return the SSH client; None without SSH.

    sudo hides the variable from us, not from its parents.
    """
    pid = os.getpid()
    while pid > 1:
        try:
            environment = (proc / str(pid) / "environ").read_bytes().split(b"\0")
            status = (proc / str(pid) / "status").read_text()
        except OSError:
            return None
        for variable in environment:
            words = variable[len(_VARIABLE) :].decode(errors="replace").split()
            if variable.startswith(_VARIABLE) and len(words) == 4 and words[3].isdigit():
                address, _, device = words[0].partition("%")
                return Client(address, device, int(words[3]))
        parent = [line for line in status.splitlines() if line.startswith("PPid:")]
        pid = int(parent[0].split()[1]) if parent else 0
    return None


def carries(interface: str, device: str, devices: Path = Path("/sys/class/net")) -> bool:
    """Whether traffic of `device` leaves through `interface`: itself, or one below it.

    Below a bridge are its ports, below a bond or VLAN its parts.
    """
    if device == interface:
        return True
    below = [path.name[len("lower_") :] for path in (devices / device).glob("lower_*")]
    return any(carries(interface, each, devices) for each in below)
