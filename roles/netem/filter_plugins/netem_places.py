"""Shaping of what each worker sends: the places of an inventory, and a scenario's ways in them.

A place is an interface of a host in the group netem_hosts: {host, interface, sender}. A way is what
a worker sends to others, as the plan role lists them: {host, to, netem, only}.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Ansible does not put the checkout on sys.path.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from paretopipe_runtime.contract.chain import under
from roles.netem.shaping import conditions

Place = dict[str, Any]
Way = Mapping[str, Any]


def netem_places(
    hosts: Iterable[str], facts: Mapping[str, Mapping[str, Any]], workers: Sequence[str]
) -> list[Place]:
    """Return a place for each worker whose traffic can be shaped, the first that has it.

    A host's ``netem_interfaces`` names the workers whose uplinks it has; without, it is itself the
    sender, or the first worker where it is a box on that one's uplink.
    """
    found: dict[str, Place] = {}
    for host in hosts:
        sender = host if host in workers else workers[0]
        own = facts[host].get("netem_interfaces") or {sender: facts[host]["experiment_interface"]}
        for name, interface in own.items():
            found.setdefault(name, {"host": host, "interface": interface, "sender": name})
    return [*found.values()]


def netem_hop(
    asked: Mapping[str, Any],
    places: Sequence[Place],
    workers: Sequence[str],
    hop: Any = 1,
    chain: str = "",
) -> list[Way]:
    """Return the one way of a hop of `chain`, or of the workers in their order.

    The first hop is all that its sender sends, of the workers the first that can be shaped; of a
    later one only what goes to the next host is shaped.
    """
    hosts, place = _chain(chain) or workers, int(hop) - 1
    sender = hosts[place]
    if not place and not chain:
        sender = next((each["sender"] for each in places), sender)
    to = [hosts[place + 1]] if place else [host for host in workers if host != sender]
    return [{"host": sender, "to": to, "netem": asked or None, "only": place > 0}]


def netem_no_hop(
    hop: Any, chain: str, places: Sequence[Place], workers: Sequence[str]
) -> list[str]:
    """Return a sentence for a hop that is not there, or cannot be shaped."""
    if str(hop) == "1" and not chain:
        return []
    hosts = _chain(chain) or list(workers)
    if unknown := [host for host in hosts if host not in workers]:
        return [
            f"chain={chain}: {unknown[0]} is no worker in this inventory: workers are "
            f"{', '.join(workers)}"
        ]
    if len(hosts) < 2 or len({*hosts}) < len(hosts):
        return [f"chain={chain}: name two hosts or more, each once, as in chain=pi1,pi2,server"]
    count = len(hosts) - 1
    if not re.fullmatch("[1-9][0-9]?", str(hop)) or int(hop) > count:
        return [
            f"hop={hop}: {', '.join(hosts)} have {count} of them, expected a number from 1 to "
            f"{count}; of another chain, name its hosts: -e chain=pi1,pi2,pi3,server"
        ]
    sender = hosts[int(hop) - 1]
    if sender not in [place["sender"] for place in places]:
        return [f"hop={hop} is what {sender} sends, and {conditions.unshaped(sender)}"]
    return []


def _chain(said: str) -> list[str]:
    return [host.strip() for host in str(said).split(",") if host.strip()]


def netem_shapings(
    places: Iterable[Place],
    ways: Iterable[Way],
    members: Sequence[str],
    addresses: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Return each place with what is ``asked`` there and the ``peers``, unshaped ones first.

    With ``only`` just what goes to the peers is shaped; else they are all of `members`.
    """
    by_sender = {way["host"]: way for way in ways}
    found = []
    for place in places:
        way = by_sender.get(place["sender"], {})
        only = bool(way.get("only"))
        named = way["to"] if only else members
        own = addresses.get(place["host"])
        peers = [addresses[host] for host in named if addresses.get(host) not in (None, "", own)]
        found.append({**place, "asked": way.get("netem") or {}, "only": only, "peers": peers})
    # A relay is one for all of them: what ends it comes before what starts it.
    return sorted(found, key=lambda shaping: bool(shaping["asked"]))


def netem_kept(
    places: Sequence[Place],
    scenarios: Iterable[Mapping[str, Any]],
    members: Sequence[str],
    addresses: Mapping[str, str],
) -> dict[str, list[dict[str, Any]]]:
    """Return by host what a keeper there may be asked for, an entry for each of its interfaces.

    Each knows all scenarios, and is asked nothing in those of others; who is never asked anything
    is left out.
    """
    kept: dict[tuple[str, str], dict[str, Any]] = {}
    for scenario in scenarios:
        for one in netem_shapings(places, scenario["ways"], members, addresses):
            own = {key: one[key] for key in ("asked", "only", "peers")}
            kept.setdefault((one["host"], one["interface"]), {})[scenario["name"]] = own
    found: dict[str, list[dict[str, Any]]] = {}
    for (host, interface), own in kept.items():
        if any(each["asked"] for each in own.values()):
            found.setdefault(host, []).append({"interface": interface, "scenarios": own})
    return found


def netem_orders(kept: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what is kept as a keeper reads it, in plain numbers."""
    return [
        {
            "interface": each["interface"],
            "scenarios": {
                name: one["asked"]
                and {
                    "asked": conditions.numbers(one["asked"]),
                    **{"peers": one["peers"], "only_peers": one["only"]},
                }
                for name, one in each["scenarios"].items()
            },
        }
        for each in kept
    ]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "netem_places": netem_places,
            "netem_hop": netem_hop,
            "netem_no_hop": netem_no_hop,
            "netem_shapings": netem_shapings,
            "netem_kept": netem_kept,
            "netem_orders": netem_orders,
            "netem_under": under,
        }
