"""The shaped host's programs, and its view of an interface."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ansible.module_utils import netem_ssh
from ansible.module_utils.netem_layout import mirror_name, shown_filters
from ansible.module_utils.netem_lease import Lease, Tools
from ansible.module_utils.netem_qdisc import qdiscs

Run = Callable[[list[str]], tuple[int, str, str]]


class NetemError(Exception):
    """A failure as an actionable sentence."""


class Host:
    """One interface of this host; `run` returns status, output and complaint.

    `mirror` names our device for incoming traffic, present or not.
    """

    def __init__(self, interface: str, tools: Tools, run: Run) -> None:
        self.interface, self.tools, self._run = interface, tools, run
        status, said = self.ask(tools.ip, "-j", "link", "show", "dev", interface)
        if status:
            raise NetemError(
                f"this host has no interface '{interface}': set netem_interface to one of `ip link`"
            )
        self.mirror = mirror_name(json.loads(said)[0]["ifindex"])
        self.lease = Lease(tools, interface, self.mirror)

    def ask(self, *words: str) -> tuple[int, str]:
        status, out, error = self._run([*words])
        return status, out if status == 0 else error or out

    def has(self, device: str) -> bool:
        return self.ask(self.tools.ip, "link", "show", "dev", device)[0] == 0

    def qdiscs(self, device: str) -> list[dict[str, Any]]:
        status, said = self.ask(self.tools.tc, "-j", "qdisc", "show", "dev", device)
        if status:
            raise NetemError(f"tc refused: {' '.join(said.split()) or 'no reason given'}")
        return qdiscs(said)

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
        """Return SSH's ports if the controller's comes through the interface."""
        caller = netem_ssh.client()
        if caller is None:
            return []
        device = caller.device
        if not device:
            status, said = self.ask(self.tools.ip, "-j", "route", "get", caller.address)
            if status:
                raise NetemError(
                    f"SSH comes from {caller.address}, and `ip route get` does not say through "
                    f"which interface, so none can be shaped safely: {' '.join(said.split())}"
                )
            device = json.loads(said)[0]["dev"]
        if not netem_ssh.carries(self.interface, device):
            return []
        return sorted({netem_ssh.PORT, caller.port})
