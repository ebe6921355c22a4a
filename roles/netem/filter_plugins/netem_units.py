"""The units people write (``200ms``, ``5mbit``, ``1%``, ``2h``) as plain numbers, and mistakes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

TIME = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
LEASE = {"s": 1.0, "min": 60.0, "h": 3600.0}
RATE = {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
SHARE = {"%": 0.01}
#: The units that each value may be written with, and how.
WRITTEN: dict[str, tuple[tuple[str, ...], str]] = {
    "delay": (("us", "ms", "s"), "delay=200ms"),
    "jitter": (("us", "ms", "s"), "jitter=5ms"),
    "delay_correlation": (("%",), "delay_correlation=25%"),
    "loss": (("%",), "loss=1%"),
    "loss_correlation": (("%",), "loss_correlation=25%"),
    "rate": (("kbit", "mbit", "gbit"), "rate=5mbit"),
    "netem_lease": (("s", "min", "h"), "netem_lease=30min"),
}


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


def netem_mistakes(said: Mapping[str, str]) -> list[str]:
    """Return what cannot be meant, one sentence each: numbers without units before all else."""
    unknown = []
    for name, (units, example) in WRITTEN.items():
        pattern = rf"(|[0-9]+(\.[0-9]+)? *({'|'.join(units)}))"
        if re.fullmatch(pattern, str(said[name]).strip()) is None:
            unknown.append(f"{name}={said[name]} is not understood: write e.g. {example}")
    if unknown:
        return unknown
    delay_s, jitter_s = netem_seconds(said["delay"]), netem_seconds(said["jitter"])
    loss, lease_s = netem_share(said["loss"]), netem_lease_seconds(said["netem_lease"])
    alike = [netem_share(said["delay_correlation"]), netem_share(said["loss_correlation"])]
    jittery = "needs a jitter: add e.g. jitter=5ms"
    checks = (
        # A host that loses most of its packets can no longer be reached to take the loss away.
        (loss > 0.5, f"loss={said['loss']} would cut the host off: use at most loss=50%"),
        (
            jitter_s > delay_s,
            f"jitter={said['jitter']} needs a delay at least as long, delay is '{said['delay']}'",
        ),
        (delay_s > 10, f"delay={said['delay']} is longer than 10 s: did you mean ms?"),
        (max(alike) > 1, "a correlation is at most 100%"),
        (
            said["delay_correlation"] and not jitter_s,
            f"delay_correlation={said['delay_correlation']} {jittery}",
        ),
        (
            said["distribution"] and not jitter_s,
            f"distribution={said['distribution']} {jittery}",
        ),
        (
            said["loss_correlation"] and not loss,
            f"loss_correlation={said['loss_correlation']} needs a loss: add e.g. loss=1%",
        ),
        # It would be over before what came of it is measured.
        (not 10 <= lease_s <= 86400, f"netem_lease={said['netem_lease']} is not from 10s to 24h"),
    )
    return [sentence for wrong, sentence in checks if wrong]


class FilterModule:
    """The filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "netem_seconds": netem_seconds,
            "netem_lease_seconds": netem_lease_seconds,
            "netem_bits": netem_bits,
            "netem_share": netem_share,
            "netem_mistakes": netem_mistakes,
        }
