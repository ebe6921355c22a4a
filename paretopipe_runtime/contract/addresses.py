"""Check addresses that tensors go to: each host's own, IPv4, for nothing here speaks IPv6."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping


def unusable(said: object, loopback: bool = True) -> str:
    """Return what is wrong with an address as typed, and what was expected, or ``""``.

    >>> unusable("192.0.2.11")
    ''
    """
    wrong = _wrong(str(said), loopback)
    return f"'{said}' {wrong}, expected the host's own IPv4 address, such as 192.0.2.11" * bool(
        wrong
    )


def problems(addresses: Mapping[str, object], away: Collection[str] = ()) -> list[str]:
    """Return a sentence per host whose `experiment_ip` cannot be used, or is another's too.

    To hosts that are `away` from this machine there is no way over loopback.
    """
    wrong = {host: unusable(said, host not in away) for host, said in addresses.items()}
    found = [f"experiment_ip of {host}: {why}" for host, why in wrong.items() if why]
    for address in dict.fromkeys(addresses.values()):
        hosts = [host for host, said in addresses.items() if said == address and not wrong[host]]
        if len(hosts) > 1:
            found.append(
                f"{' and '.join(hosts)} have one experiment_ip, {address}, expected one each: "
                "correct it in the inventory, where one machine may have one name only"
            )
    return found


def _wrong(said: str, loopback: bool) -> str:
    try:
        address = ipaddress.ip_address(said)
    except ValueError:
        return _unreadable(said)
    if address.version == 6:
        return "is an IPv6 address"
    if address.is_multicast or address.is_reserved:
        return "is no single host's address"
    if address in ipaddress.ip_network("0.0.0.0/8"):
        return "is a wildcard"
    if address.is_loopback and not loopback:
        return "is a loopback address"
    return ""


def _unreadable(said: str) -> str:
    if not said:
        return "is not set"
    for mark, part in (("/", "a network's length"), ("%", "a zone"), ("]", "brackets")):
        if mark in said:
            return f"has {part}"
    return "is a name" if any(letter.isalpha() for letter in said) else "is no address"
