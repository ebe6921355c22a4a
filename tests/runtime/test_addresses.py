"""Addresses that tensors cannot go to are told before anything is touched."""

from __future__ import annotations

import pytest

from paretopipe_runtime.contract.addresses import problems, unusable

EXPECTED = ", expected the host's own IPv4 address, such as 192.0.2.11"


@pytest.mark.parametrize(
    ("typed", "wrong"),
    [
        ("::1", "is an IPv6 address"),
        ("::ffff:192.0.2.11", "is an IPv6 address"),
        ("fe80::1%eth0", "is an IPv6 address"),
        ("[2001:db8::1]", "has brackets"),
        ("localhost", "is a name"),
        ("0.0.0.0", "is a wildcard"),
        ("192.0.2.11/24", "has a network's length"),
        ("192.0.2.11%eth0", "has a zone"),
        ("192.0.2.011", "is no address"),
        (3221225995, "is no address"),
        ("224.0.0.1", "is no single host's address"),
        ("255.255.255.255", "is no single host's address"),
        ("", "is not set"),
    ],
)
def test_what_is_no_host_s_own_address_is_told(typed: object, wrong: str) -> None:
    assert unusable(typed) == f"'{typed}' {wrong}{EXPECTED}"


def test_loopback_and_one_address_for_two_are_told() -> None:
    loopback = {"pi1": "127.0.78.11", "pi2": "127.0.78.12"}
    assert problems(loopback) == []
    (told,) = problems(loopback, away=["pi2"])
    assert told == f"experiment_ip of pi2: '127.0.78.12' is a loopback address{EXPECTED}"
    (told,) = problems({"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.1"})
    assert told.startswith("a and c have one experiment_ip, 192.0.2.1, expected one each: ")
