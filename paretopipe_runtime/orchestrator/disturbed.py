"""Disturbances of a run's hosts while it was measured, for which it does not count."""

from __future__ import annotations

from typing import Any

Hosts = dict[str, dict[str, Any]]
ORCHESTRATOR = "the orchestrator's host"
THROTTLED = (
    "the run does not count: it needs the official power supply and a short cable, or a heat sink "
    "and a fan"
)
SWAPPED = (
    "the run does not count: end what else needs memory there, or turn swap off while you measure "
    "(`sudo swapoff -a`)"
)


def disturbances(hosts: Hosts) -> dict[str, str]:
    """Return a sentence by reason, empty where it does not hold."""
    return {
        "throttled": _sentence(_throttled(hosts), THROTTLED),
        "swapped": _sentence(_swapped(hosts), SWAPPED),
    }


def message(hosts: Hosts) -> str:
    return "; ".join(filter(None, disturbances(hosts).values()))


def _sentence(found: list[str], cure: str) -> str:
    return f"{', '.join(found)} — {cure}" if found else ""


def _throttled(hosts: Hosts) -> list[str]:
    """Read the bits that were live meanwhile; sticky ones may be of earlier."""
    bits = {name: int(host.get("throttled_live") or "0", 16) for name, host in hosts.items()}
    return [
        f"{name} was {'short of voltage' if live & 1 else 'held back by its temperature'} "
        f"({live:#x}) while it was measured"
        for name, live in bits.items()
        if live
    ]


def _swapped(hosts: Hosts) -> list[str]:
    """Count the whole host's pages: who reads from a card, or packs memory, slows a stage down."""
    told = []
    for name, host in hosts.items():
        went, came = (host.get(f"swapped_{way}_pages") or 0 for way in ("out", "in"))
        if went or came:
            told.append(f"{name} swapped {went} pages out and {came} in while it was measured")
    return told
