"""An interface's state compared with the wanted one, and netem's words and numbers for both."""

from __future__ import annotations

import ipaddress
import math
from functools import cached_property
from typing import Any

from ansible.module_utils import netem_lease
from ansible.module_utils.netem_host import SSH_PORT, Host, NetemError
from ansible.module_utils.netem_layout import CHILD, HANDLE, INGRESS, Layout

PACKET_BITS = 1514 * 8
# Assumed rate of an unlimited link, to size the queue.
FREE_RATE_BIT = 1e9
# tc's rounding: time in ticks, shares in 32-bit steps.
SLACK = {"delay_s": 1e-5, "jitter_s": 1e-5, "loss": 1e-4, "rate_bit": 8.0, "limit": 0.0}


class Shaping:
    """Found and wanted state of an interface. Make a new one after changes."""

    def __init__(self, host: Host, params: dict[str, Any]) -> None:
        self._host = host
        self._seen = host.qdiscs(host.interface)
        self._mirrored = host.qdiscs(host.mirror) if host.has(host.mirror) else None
        self._params = params
        self._asked = params["asked"]
        self.values = wanted_values(self._asked, params["limit"])

    @cached_property
    def layout(self) -> Layout:
        ports = self._host.ssh_ports()
        return Layout(
            interface=self._host.interface,
            mirror=self._host.mirror if self._asked.get("direction") == "symmetric" else "",
            netem=tuple(netem_words(self.values, self._asked.get("distribution", ""))),
            shared=bool(ports) or bool(self._params.get("only_peers")),
            # Sorted: order does not matter.
            peers=tuple(sorted(set(self._params["peers"]))),
            ssh_ports=tuple(ports or [SSH_PORT]),
        )

    @property
    def beside_ssh(self) -> bool:
        return bool(self._host.ssh_ports())

    @property
    def what(self) -> list[str]:
        """Wanted state in words, for the lease: tc does not show all."""
        layout = self.layout
        peers = ["peers", *layout.peers] if layout.shared or layout.mirror else []
        return [self._asked.get("direction", "egress"), *layout.netem, *peers]

    @property
    def root(self) -> dict[str, Any]:
        return root_of(self._seen)

    @property
    def ours(self) -> bool:
        return self.root.get("handle") == HANDLE or self._mirrored is not None

    def described(self) -> bool:
        """Tell whether the armed lease describes the wanted state."""
        return netem_lease.described(self._host.armed(), self.what)

    def refuse(self) -> None:
        """Raise NetemError for a foreign qdisc, or without peers."""
        name, root = self._host.interface, self.root
        remedy = "or shape another interface"
        if root.get("handle") != HANDLE and not is_default(root):
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
            how = "both ways" if self.layout.mirror else "for some hosts"
            reason = "also carries SSH" if self.beside_ssh else f"is to be shaped {how}"
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
        """Tell whether the found state is the wanted one, as tc shows it."""
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
        return any(same(shown_values(each), self.values) for each in found)

    def _recognised(self, side: str, parent: str) -> bool:
        return self._host.filters(parent) == [each.keys for each in self.layout.filters(side)]


def queue_limit(delay_s: float, rate_bit: float) -> int:
    """Return twice the bandwidth-delay product in packets, at least netem's 1000."""
    product = (rate_bit or FREE_RATE_BIT) * delay_s / PACKET_BITS
    return max(1000, math.ceil(2 * product))


def wanted_values(asked: dict[str, Any], limit: int) -> dict[str, float]:
    """Return a netem qdisc's numbers, by the names in `SLACK`."""
    values = {key: float(asked.get(key, 0)) for key in SLACK}
    return {**values, "limit": limit or queue_limit(values["delay_s"], values["rate_bit"])}


def netem_words(wanted: dict[str, float], distribution: str) -> list[str]:
    """Return the words after ``netem``, in tc's smallest units.

    Without jitter tc accepts no distribution.
    """
    words = ["limit", str(int(wanted["limit"]))]
    if wanted["delay_s"]:
        words += ["delay", _time(wanted["delay_s"])]
        if wanted["jitter_s"]:
            words += [_time(wanted["jitter_s"])]
            words += ["distribution", distribution] if distribution else []
    if wanted["loss"]:
        words += ["loss", _share(wanted["loss"])]
    if wanted["rate_bit"]:
        words += ["rate", f"{round(wanted['rate_bit'])}bit"]
    return words


def shown_values(qdisc: dict[str, Any]) -> dict[str, float]:
    """Parse a netem qdisc from ``tc -j`` (rates in bytes/s).

    The kernel does not show a distribution's table.
    """
    options = qdisc.get("options", {})
    delay, loss = options.get("delay", {}), options.get("loss-random", {})
    return {
        "delay_s": float(delay.get("delay", 0)),
        "jitter_s": float(delay.get("jitter", 0)),
        "loss": float(loss.get("loss", 0)),
        "rate_bit": 8.0 * options.get("rate", {}).get("rate", 0),
        "limit": options.get("limit", 0),
    }


def same(shown: dict[str, float], wanted: dict[str, float]) -> bool:
    return all(
        math.isclose(shown[key], wanted[key], rel_tol=1e-4, abs_tol=SLACK[key]) for key in SLACK
    )


def root_of(shown: list[dict[str, Any]]) -> dict[str, Any]:
    return next((qdisc for qdisc in shown if qdisc.get("root")), {"kind": "noqueue"})


def is_default(qdisc: dict[str, Any]) -> bool:
    """Tell whether the kernel added it by default: whatever is added by hand has a handle."""
    return str(qdisc.get("handle", "0:")) == "0:"


def _time(seconds: float) -> str:
    return f"{round(seconds * 1e6)}us"


def _share(share: float) -> str:
    return f"{share * 100:.6g}%"
