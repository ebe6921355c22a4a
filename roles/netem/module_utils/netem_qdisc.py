"""One netem qdisc: tc's words for it, and tc's output as numbers."""

from __future__ import annotations

import json
import math
from typing import Any

PACKET_BITS = 1514 * 8
# Assumed rate of an unlimited link, to size the queue.
FREE_RATE_BIT = 1e9
# The kernel's own qdiscs have handle 0: and one of these kinds.
DEFAULTS = ("noqueue", "pfifo_fast", "fq_codel", "fq", "mq")
# tc's rounding: time in ticks, shares in 32-bit steps.
SLACK = {
    "delay_s": 1e-5,
    "jitter_s": 1e-5,
    "loss": 1e-4,
    "rate_bit": 8.0,
    "limit": 0.0,
}


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


def qdiscs(shown: str) -> list[dict[str, Any]]:
    """Parse ``tc -j qdisc show``; older ones print nothing for none."""
    return list(json.loads(shown or "[]"))


def root_of(shown: list[dict[str, Any]]) -> dict[str, Any]:
    return next((qdisc for qdisc in shown if qdisc.get("root")), {"kind": "noqueue"})


def is_default(qdisc: dict[str, Any]) -> bool:
    """Whether the kernel added it by default."""
    return qdisc["kind"] in DEFAULTS and qdisc.get("handle", "0:") == "0:"


def _time(seconds: float) -> str:
    return f"{round(seconds * 1e6)}us"


def _share(share: float) -> str:
    return f"{share * 100:.6g}%"
