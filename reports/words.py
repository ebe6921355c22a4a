"""Numbers and names for readers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import floor, log10
from typing import Any

_PAIRINGS = {"pi_to_pi": "Pi-to-Pi", "pi_to_gpu": "Pi-to-GPU"}
_DIRECTIONS = {"egress": "egress only", "symmetric": "each way"}


def number(value: float, digits: int = 3) -> str:
    """Round without exponent: 0.0182, 1.82, 182, 1,820."""
    rounded = float(f"{value:.{digits - 1}e}")
    return f"{rounded:,.{decimals(rounded, digits)}f}"


def decimals(value: float, digits: int = 3) -> int:
    """Return the decimals that show so many significant digits."""
    return max(0, digits - 1 - floor(log10(abs(value)))) if value else 0


def power(value: float) -> str:
    """Return a tiny number as 2.0 × 10⁻⁷."""
    mantissa, exponent = f"{value:.1e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10{raised}" if value else "0"


def percent(ratio: float) -> str:
    """Return 83 %, 1.4 %: a decimal for small changes."""
    share = abs(ratio) * 100
    return (
        f"{share:,.0f}\N{NO-BREAK SPACE}%" if share >= 9.95 else f"{share:.1f}\N{NO-BREAK SPACE}%"
    )


def listing(names: Sequence[str], limit: int = 8) -> str:
    """Join names, cutting long lists: 'P1, P2 and P3', 'P1, P2 and 6 more'."""
    shown = list(names) if len(names) <= limit else [*names[: limit - 1]]
    if len(shown) < len(names):
        shown.append(f"{len(names) - len(shown)} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def count(amount: int, noun: str) -> str:
    """Return '1 run', '5 runs'."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def pairing_name(pairing: str, devices: Sequence[str] = ()) -> str:
    """Return the paper's words, else spaces for underscores; a GPU only where one computed."""
    if pairing == "pi_to_gpu" and not any(device.startswith("cuda") for device in devices):
        return "Pi-to-server, CPU"
    return _PAIRINGS.get(pairing, pairing.replace("_", " "))


def pairing_rank(pairing: str) -> tuple[int, str]:
    """Sort key: the paper's pairings first, in its order."""
    known = [*_PAIRINGS]
    return (known.index(pairing) if pairing in known else len(known), pairing)


def between(values: Sequence[float]) -> str:
    """Return '1.02 to 1.31', or one number if both read the same."""
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def slug(text: str) -> str:
    """Return text safe in HTML ids and selectors."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)


def moment(stamp: str) -> str:
    """Return '2026-11-23T10:11:12Z' as '2026-11-23 10:11 UTC'; other text unchanged."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(?::\d\d(?:\.\d+)?)?Z", stamp)
    return f"{found[1]} {found[2]} UTC" if found else stamp


def asked(netem: dict[str, Any] | None) -> str:
    """Return the asked network in words, without settings of no effect."""
    if not netem:
        return "network as it is"
    said: dict[str, list[str]] = {}
    for name, value in netem.items():
        hop, _, key = name.rpartition(" ")
        words = said.setdefault(hop, [])
        text = re.sub(r"(?<=\d)(?=[a-z%])", " ", str(value)).replace("mbit", "Mbit/s")
        if key == "direction":
            words.append(_DIRECTIONS.get(text, text))
        elif text and not re.match(r"0(\D|$)", text):
            words.append(f"{key.replace('_', ' ')} {text}")
    return "; ".join(f"{hop}: {', '.join(w)}" if hop else ", ".join(w) for hop, w in said.items())
