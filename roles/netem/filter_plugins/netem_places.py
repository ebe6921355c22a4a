"""Shaping of what each worker sends: the places of an inventory, and a scenario's ways in them.

A place is an interface of a host in the group netem_hosts: {host, interface, sender}. A way is what
a worker sends to others, as the plan role lists them: {host, to, netem, only}.
"""

from __future__ import annotations

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


def netem_first_way(
    asked: Mapping[str, Any], places: Sequence[Place], workers: Sequence[str]
) -> list[Way]:
    """Return the one way of the first worker that can be shaped, to all others."""
    sender = next((place["sender"] for place in places), workers[0])
    to = [host for host in workers if host != sender]
    return [{"host": sender, "to": to, "netem": asked or None, "only": False}]


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
            "netem_first_way": netem_first_way,
            "netem_shapings": netem_shapings,
            "netem_kept": netem_kept,
            "netem_orders": netem_orders,
            "netem_under": under,
        }
