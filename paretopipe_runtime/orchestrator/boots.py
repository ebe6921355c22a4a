"""A host that was restarted is not the one that a run began on: which boot each of them is in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from paretopipe_runtime.errors import ParetoPipeError

Boots = dict[str, str | None]  # by host; None where its kernel does not say
CODE = "E_REBOOTED"
STATUS = "invalid:node_rebooted"  # of a run with that error: it says nothing of its split


def rebooted(host: str) -> ParetoPipeError:
    """Return what is said of a run during which `host` was restarted."""
    return ParetoPipeError(
        CODE,
        f"{host} was rebooted while the run was measured — the run does not count and is measured "
        f"again; if nobody did it, see `journalctl --boot=-1` there, and its power supply",
    )


def changed(hosts: Iterable[str], before: Boots, after: Boots) -> list[str]:
    """Return those of `hosts` that are known to be in another boot than before."""
    pairs = {host: (before.get(host), after.get(host)) for host in hosts}
    return [host for host, (old, new) in pairs.items() if old and new and old != new]


class Known:
    """Which boot every host of a cell was last seen in."""

    def __init__(self) -> None:
        self._boots: Boots = {}

    def note(self, row: dict[str, Any]) -> dict[str, list[str]]:
        """Take note of a run's hosts; return what its record says of those restarted before it."""
        seen = {host: facts.get("boot_id") for host, facts in row.get("hosts", {}).items()}
        again = changed(seen, self._boots, seen)
        self._boots |= {host: boot for host, boot in seen.items() if boot}
        return {"rebooted_before": again} if again else {}
