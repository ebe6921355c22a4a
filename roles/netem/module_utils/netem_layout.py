"""Placement of netem: at the root, beside unshaped traffic, and on incoming traffic.

Alone on its interface, netem is the root. With the controller's SSH there, or where only what goes
to some hosts is shaped, the root is a ``prio``; filters send it packets for peers that are not SSH.
Incoming packets cannot be queued on arrival: they are redirected to an ``ifb`` device with netem as
root.

Ours are the root handle ``5a5a:`` and the device's name. Filters are raw words and masks, as tc
shows them.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

HANDLE = "5a5a:"
CHILD = "5a5c:"
PLAIN_CLASS, SHAPED_CLASS = "5a5a:1", "5a5a:2"
INGRESS = "ffff:"
PREFERENCE = {4: "23130", 6: "23131"}  # 0x5a5a and the next: one per protocol
PROTOCOL = {4: "ip", 6: "ipv6"}
TCP = 6

Key = tuple[int, int, int]  # a word, its mask, its offset in the packet
Words = list[str]


@dataclass(frozen=True)
class Step:
    words: Words
    needs: str


@dataclass(frozen=True)
class Filter:
    version: int
    keys: tuple[Key, ...]
    shaped: bool


@dataclass(frozen=True)
class Layout:
    """The wanted state of one interface.

    `mirror` is the device for incoming traffic, "" for none; `netem` the words after ``netem``.
    """

    interface: str
    mirror: str
    netem: tuple[str, ...]
    shared: bool
    peers: tuple[str, ...]
    ssh_ports: tuple[int, ...]

    def steps(self) -> list[Step]:
        """Return the commands to build it on a clean interface.

        Filters come last: until then packets pass unshaped.
        """
        found = self._back() if self.mirror else []
        return found + self._forth()

    def _forth(self) -> list[Step]:
        root = ["tc", "qdisc", "add", "dev", self.interface, "root", "handle", HANDLE]
        if not self.shared:
            return [Step([*root, "netem", *self.netem], "sch_netem")]
        child = ["tc", "qdisc", "add", "dev", self.interface, "parent", SHAPED_CLASS]
        return [
            Step([*root, "prio", "bands", "2", "priomap", *["0"] * 16], "sch_prio"),
            Step([*child, "handle", CHILD, "netem", *self.netem], "sch_netem"),
            *(
                Step(self._filter(HANDLE, each, ["flowid", SHAPED_CLASS]), "cls_u32")
                for each in self.filters("to")
            ),
        ]

    def _back(self) -> list[Step]:
        device = ["dev", self.mirror]
        redirect = ["action", "mirred", "egress", "redirect", *device]
        root = ["tc", "qdisc", "add", *device, "root", "handle", HANDLE]
        return [
            Step(["ip", "link", "add", *device[1:], "type", "ifb"], "ifb"),
            Step(["ip", "link", "set", *device[1:], "up"], "ifb"),
            Step([*root, "netem", *self.netem], "sch_netem"),
            Step(
                ["tc", "qdisc", "add", "dev", self.interface, "handle", INGRESS, "ingress"],
                "sch_ingress",
            ),
            *(
                # SSH's first: it loads cls_u32 before one that redirects.
                Step(
                    self._filter(INGRESS, each, redirect),
                    "act_mirred" if each.shaped else "cls_u32",
                )
                for each in self.filters("from")
            ),
        ]

    def _filter(self, parent: str, each: Filter, shaped: Words) -> Words:
        words = ["tc", "filter", "add", "dev", self.interface, "parent", parent]
        words += ["protocol", PROTOCOL[each.version], "pref", PREFERENCE[each.version], "u32"]
        for value, mask, offset in each.keys:
            words += ["match", "u32", f"0x{value:08x}", f"0x{mask:08x}", "at", str(offset)]
        return words + (shaped if each.shaped else ["flowid", PLAIN_CLASS])

    def filters(self, side: str) -> list[Filter]:
        """Return the filters in order; the first match decides."""
        found = []
        peers = [ipaddress.ip_address(peer) for peer in self.peers]
        for version in sorted({peer.version for peer in peers}):
            for port in self.ssh_ports:
                found += [Filter(version, keys, False) for keys in _ports(version, port)]
            found += [
                Filter(version, _address(version, peer.packed, side), True)
                for peer in peers
                if peer.version == version
            ]
        return found


def shown_filters(shown: str) -> list[tuple[Key, ...]]:
    """Return each filter's keys from ``tc filter show``, in order."""
    found: list[list[Key]] = []
    for line in shown.splitlines():
        if re.match(r"filter .* fh [0-9a-f]+::[0-9a-f]+ ", line):
            found.append([])
        for value, mask, offset in re.findall(r"match ([0-9a-f]{8})/([0-9a-f]{8}) at (\d+)", line):
            found[-1].append((int(value, 16), int(mask, 16), int(offset)))
    return [tuple(keys) for keys in found]


def _address(version: int, packed: bytes, side: str) -> tuple[Key, ...]:
    """Return the keys of packets to, or from, an address."""
    first = {(4, "from"): 12, (4, "to"): 16, (6, "from"): 8, (6, "to"): 24}[version, side]
    words = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    return tuple(
        (int.from_bytes(word, "big"), 0xFFFFFFFF, first + 4 * place)
        for place, word in enumerate(words)
    )


def _ports(version: int, port: int) -> list[tuple[Key, ...]]:
    """Return the keys of TCP from and to a port, without IP options."""
    protocol = (TCP << 16, 0x00FF0000, 8) if version == 4 else (TCP << 8, 0x0000FF00, 4)
    at = 20 if version == 4 else 40
    return [(protocol, (port << 16, 0xFFFF0000, at)), (protocol, (port, 0x0000FFFF, at))]
