"""Parsing of a relay's options."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from paretopipe_runtime.contract import units
from paretopipe_runtime.errors import ParetoPipeError

Address = tuple[str, int]
DIRECTIONS = ("egress", "symmetric")
_HOP = re.compile(r"([^=]+)=([0-9.]+):(\d{1,5})=([0-9.]+):(\d{1,5})")
_NOTHING = re.compile(r"(0(\.0+)?\s*(us|ms|s|%)?)?")


@dataclass(frozen=True)
class Hop:
    """Forwarding from `listen` to host `name` at `target`; `outward` if the shaped host dials."""

    name: str
    listen: Address
    target: Address
    outward: bool


@dataclass(frozen=True)
class Shaping:
    """One-way delay and rate of the shaped host's uplink and, if `symmetric`, its downlink.

    `rate_mbit` counts bytes on the wire; None is no limit.
    """

    delay_s: float
    rate_mbit: float | None
    symmetric: bool


def shaping(delay: str, rate: str, direction: str) -> Shaping:
    """Parse netem's words, or raise ``E_RELAY``."""
    delay_s = _number("delay", delay, units.seconds(delay), "200ms")
    rate_mbit = _number("rate", rate, units.mbit(rate), "5mbit")
    if not delay_s and not rate_mbit:
        raise _refusal("neither a delay nor a rate is asked for — give --delay 200ms --rate 5mbit")
    if direction not in DIRECTIONS:
        raise _refusal(f"direction {direction}, expected {' or '.join(DIRECTIONS)}")
    return Shaping(delay_s, rate_mbit or None, direction == "symmetric")


def hops(towards: Sequence[str], back: Sequence[str]) -> list[Hop]:
    """Parse one hop back to the shaped host and the hops to others, or raise ``E_RELAY``."""
    if len(back) != 1 or not towards:
        raise _refusal(
            f"{len(back)} hops --from and {len(towards)} --towards, expected one --from for "
            "connections to the shaped host and a --towards for every host it connects to"
        )
    found = [_hop(text, outward=False) for text in back]
    found += [_hop(text, outward=True) for text in towards]
    names = [hop.name for hop in found]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise _refusal(f"{double} is named by two hops, expected one hop for each host")
    return found


def loopback(text: str) -> Address:
    """Parse ``127.0.78.11:47470``, or raise ``E_RELAY``."""
    address, _, port = text.rpartition(":")
    if not port.isdecimal():
        raise _refusal(f"{text!r} is no address and port, expected for example 127.0.79.12:47510")
    return _own(address, port)


def _hop(text: str, *, outward: bool) -> Hop:
    words = _HOP.fullmatch(text)
    if words is None:
        raise _refusal(
            f"{text!r} is no hop, expected NAME=ADDRESS:PORT=ADDRESS:PORT — for example "
            "pi2=127.0.79.12:47510=127.0.78.12:47470"
        )
    name, listen, listen_port, target, target_port = words.groups()
    return Hop(name, _own(listen, listen_port), _own(target, target_port), outward)


def _own(address: str, port: str) -> Address:
    """Accept loopback addresses only: a relay has no authentication."""
    try:
        known = ipaddress.IPv4Address(address)
    except ValueError as error:
        raise _refusal(f"{error}") from error
    if not known.is_loopback or int(port) > 65535:
        raise _refusal(
            f"{address}:{port} is not this machine's loopback, and a relay lets in whoever comes — "
            "give an address in 127.0.0.0/8"
        )
    return address, int(port)


def _number(name: str, text: str, number: float | None, example: str) -> float:
    if number is None and not _NOTHING.fullmatch(text.strip()):
        raise _refusal(f"{name} {text!r} has no unit that is known, expected e.g. {example}")
    return number or 0.0


def _refusal(sentence: str) -> ParetoPipeError:
    return ParetoPipeError("E_RELAY", sentence)
