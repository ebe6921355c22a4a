"""The units people write (``200ms``, ``5mbit``, ``1%``, ``2h``) as plain numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ansible.errors import AnsibleFilterError

TIME = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
LEASE = {"s": 1.0, "min": 60.0, "h": 3600.0}
RATE = {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
SHARE = {"%": 0.01}


def _number(text: str, units: Mapping[str, float], example: str) -> float:
    """Return `text` in the base unit; nothing said is nothing asked."""
    words = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z%]+)", str(text).strip().lower())
    if not str(text).strip():
        return 0.0
    if words is None or words[2] not in units:
        raise AnsibleFilterError(f"'{text}' has no known unit: write e.g. {example}")
    return float(words[1]) * units[words[2]]


def netem_seconds(text: str) -> float:
    """Return ``"200ms"`` as 0.2."""
    return _number(text, TIME, "200ms")


def netem_lease_seconds(text: str) -> int:
    """Return ``"2h"`` as 7200."""
    return round(_number(text, LEASE, "2h"))


def netem_bits(text: str) -> float:
    """Return ``"5mbit"`` as 5000000.0."""
    return _number(text, RATE, "5mbit")


def netem_share(text: str) -> float:
    """Return ``"1%"`` as 0.01."""
    return _number(text, SHARE, "1%")


class FilterModule:
    """The filters."""

    def filters(self) -> dict[str, Callable[[str], float]]:
        """Return the filters by name."""
        return {
            "netem_seconds": netem_seconds,
            "netem_lease_seconds": netem_lease_seconds,
            "netem_bits": netem_bits,
            "netem_share": netem_share,
        }
