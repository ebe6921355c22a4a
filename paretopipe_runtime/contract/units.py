"""Units of network settings, TCP's overhead on the wire, and seconds in words.

Standard library only: `relay` imports this and must start in 0.1 s.
"""

from __future__ import annotations

import re
from typing import Any

#: Payload bytes of a full TCP segment: Ethernet's 1500, less 20 of IPv4, 20 of TCP and 12 of time
#: stamps (RFC 791, 9293, 7323).
SEGMENT_BYTES = 1448
#: Its frame: 14 of Ethernet header more (IEEE 802.3), which is what ``tc`` counts; preamble,
#: checksum and gap (24 more) are outside its rate.
FRAME_BYTES = 1514
WIRE_PER_PAYLOAD = FRAME_BYTES / SEGMENT_BYTES
TIME = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
LEASE = {"s": 1.0, "min": 60.0, "h": 3600.0}
RATE = {"bit": 1e-6, "kbit": 1e-3, "mbit": 1.0, "gbit": 1e3}
SHARE = {"%": 0.01}


def mbit(text: Any) -> float | None:
    """Parse a rate such as ``5mbit`` to Mbit/s; None if it is not one."""
    return number(text, RATE)


def seconds(text: Any) -> float | None:
    """Parse a delay such as ``200ms`` to seconds; None if it is not one."""
    return number(text, TIME)


def number(text: Any, units: dict[str, float]) -> float | None:
    """Parse a number with a unit to the base unit; None if it is not one."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([a-z%]+)", str(text)) if text else None
    return float(match[1]) * units[match[2]] if match and match[2] in units else None


def transfer_s(nbytes: float, rate_mbit: float | None) -> float:
    """Return the seconds of `nbytes` of payload on the wire; 0 without a rate.

    >>> round(transfer_s(1_448_000, 10), 6)
    1.2112
    """
    return nbytes * WIRE_PER_PAYLOAD * 8e-6 / rate_mbit if rate_mbit else 0.0


def duration(seconds: float) -> str:
    """Format as ``50 s``, ``12 min`` or ``3 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
