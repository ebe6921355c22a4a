"""An interface's state compared with the wanted one."""

from __future__ import annotations

import ipaddress
from functools import cached_property
from typing import Any

from ansible.module_utils import netem_lease, netem_qdisc, netem_ssh
from ansible.module_utils.netem_host import Host, NetemError
from ansible.module_utils.netem_layout import CHILD, HANDLE, INGRESS, Layout


class Shaping:
    """Found and wanted state of an interface. Make a new one after changes."""

    def __init__(self, host: Host, params: dict[str, Any]) -> None:
        self._host = host
        self._seen = host.qdiscs(host.interface)
        self._mirrored = host.qdiscs(host.mirror) if host.has(host.mirror) else None
        self._params = params
        self._asked = params["asked"]
        self.values = netem_qdisc.wanted_values(self._asked, params["limit"])

    @cached_property
    def layout(self) -> Layout:
        ports = self._host.ssh_ports()
        return Layout(
            interface=self._host.interface,
            mirror=self._host.mirror if self._asked.get("direction") == "symmetric" else "",
            netem=tuple(netem_qdisc.netem_words(self.values, self._asked.get("distribution", ""))),
            shared=bool(ports),
            # Sorted: order does not matter.
            peers=tuple(sorted(set(self._params["peers"]))),
            ssh_ports=tuple(ports or [netem_ssh.PORT]),
        )

    @property
    def what(self) -> list[str]:
        """Wanted state in words, for the lease: tc does not show all."""
        layout = self.layout
        peers = ["peers", *layout.peers] if layout.shared or layout.mirror else []
        return [self._asked.get("direction", "egress"), *layout.netem, *peers]

    @property
    def root(self) -> dict[str, Any]:
        return netem_qdisc.root_of(self._seen)

    @property
    def ours(self) -> bool:
        return self.root.get("handle") == HANDLE or self._mirrored is not None

    def described(self) -> bool:
        """Whether the armed lease describes the wanted state."""
        return netem_lease.described(self._host.armed(), self.what)

    def refuse(self) -> None:
        """Raise NetemError for a foreign qdisc, or without peers."""
        name, root = self._host.interface, self.root
        remedy = "or shape another interface"
        if root.get("handle") != HANDLE and not netem_qdisc.is_default(root):
            raise NetemError(
                f"{name} already has a {root['kind']} qdisc ({root.get('handle')}) that is not "
                f"ParetoPipe's: remove it with `tc qdisc del dev {name} root` {remedy}"
            )
        arrival = [each["kind"] for each in self._seen if each["kind"] in ("ingress", "clsact")]
        if self.layout.mirror and arrival and self._mirrored is None:
            raise NetemError(
                f"{name} already has a qdisc for what comes in ({arrival[0]}) that is not "
                f"ParetoPipe's: remove it with `tc qdisc del dev {name} {arrival[0]}` {remedy}"
            )
        if (self.layout.shared or self.layout.mirror) and not self.layout.peers:
            reason = "also carries SSH" if self.layout.shared else "is to be shaped both ways"
            raise NetemError(
                f"{name} {reason}, so only traffic with the peers may be shaped, and none is "
                "known: set netem_peer_addresses"
            )
        for peer in self.layout.peers:
            try:
                ipaddress.ip_address(peer)
            except ValueError:
                raise NetemError(f"'{peer}' is no IP address: mend netem_peer_addresses") from None

    def fits(self) -> bool:
        """Whether the found state is the wanted one, as tc shows it."""
        if self.layout.shared:
            place = {"handle": CHILD}
            there = [self.root["kind"] == "prio", self._recognised("to", HANDLE)]
        else:
            place, there = {"handle": HANDLE, "root": True}, []
        there.append(self._shapes(self._seen, place))
        there.append(bool(self.layout.mirror) == (self._mirrored is not None))
        if self.layout.mirror and self._mirrored is not None:
            there.append(self._shapes(self._mirrored, {"handle": HANDLE, "root": True}))
            there.append(self._recognised("from", INGRESS))
        return all(there)

    def _shapes(self, seen: list[dict[str, Any]], place: dict[str, Any]) -> bool:
        found = [each for each in seen if each["kind"] == "netem" and place.items() <= each.items()]
        return any(netem_qdisc.same(netem_qdisc.shown_values(each), self.values) for each in found)

    def _recognised(self, side: str, parent: str) -> bool:
        return self._host.filters(parent) == [each.keys for each in self.layout.filters(side)]
