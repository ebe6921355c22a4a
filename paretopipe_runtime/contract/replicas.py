"""Equal hosts that share one stage: of r the batch n goes to the one n mod r.

Such a place of a chain is named by its hosts, ``pi2+pi3``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from paretopipe_runtime.errors import ParetoPipeError

JOINT = "+"


def joined(hosts: Iterable[str]) -> str:
    """Return a place's name.

    >>> joined(["pi2", "pi3"])
    'pi2+pi3'
    """
    return JOINT.join(hosts)


def hosts_at(place: str) -> list[str]:
    """Invert `joined`."""
    return place.split(JOINT)


def hosts_of(places: Iterable[str]) -> list[str]:
    """Return every host of a chain, in order."""
    return [host for place in places for host in hosts_at(place)]


def with_replicas(worker: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a plan's worker and its replicas."""
    return [worker, *(worker.get("replicas") or [])]


def place_of(worker: Mapping[str, Any]) -> str:
    """Return the name of a plan's worker and its replicas."""
    return joined(str(one.get("host")) for one in with_replicas(worker))


def check_places(pairing: str, places: Sequence[str], backend: str) -> None:
    """Refuse chains that batches could not pass in turn.

    Raises
    ------
    ParetoPipeError
        ``E_REPLICAS`` for a second place of several hosts, or a backend without turns.
    """
    several = [place for place in places if len(hosts_at(place)) > 1]
    if len(several) > 1:
        raise ParetoPipeError(
            "E_REPLICAS",
            f"pairing {pairing} has several hosts in {len(several)} places, "
            f"{' and '.join(several)}, expected one such place at most — leave the others one host "
            "each",
        )
    if several and backend != "socket":
        raise ParetoPipeError(
            "E_REPLICAS",
            f"pairing {pairing} has {several[0]} in one place, and backend {backend} sends every "
            "batch to one host — choose -e backend=socket, or one host for each place",
        )
