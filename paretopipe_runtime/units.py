"""The units that people write a network in, as numbers: ``200ms``, ``5mbit``.

Nothing here may import more than Python's own library: `relay` starts with it in a tenth of a
second.
"""

from __future__ import annotations

import re
from typing import Any

#: Ethernet frame bytes for each byte of TCP payload (1514 of 1448, time stamps on).
WIRE_PER_PAYLOAD = 1514 / 1448
_RATE = re.compile(r"(\d+(?:\.\d+)?)(bit|kbit|mbit|gbit)")
_RATE_UNITS = {"bit": 1e-6, "kbit": 1e-3, "mbit": 1.0, "gbit": 1e3}
_DELAY = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s)")
_DELAY_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def mbit(text: Any) -> float | None:
    """Return a rate in Mbit/s; None where `text` says none."""
    return _parse(_RATE, _RATE_UNITS, text)


def seconds(text: Any) -> float | None:
    """Return a delay in seconds; None where `text` says none."""
    return _parse(_DELAY, _DELAY_UNITS, text)


def transfer_s(nbytes: int, rate_mbit: float | None) -> float:
    """Return the seconds that `nbytes` of payload take on the wire; 0 without a rate."""
    return nbytes * WIRE_PER_PAYLOAD * 8e-6 / rate_mbit if rate_mbit else 0.0


def _parse(pattern: re.Pattern[str], units: dict[str, float], text: Any) -> float | None:
    match = pattern.fullmatch(str(text)) if text else None
    return float(match[1]) * units[match[2]] if match else None
