"""Namespaces of the tests' own: what they ask of the machine first, and networks to break."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

PACKAGES = {"ip": "iproute2", "tc": "iproute2", "nft": "nftables", "unshare": "util-linux"}
CLONE_NEWNET = 0x40000000
# What nft does to every packet.
LOSS = "numgen random mod 100 < {} drop"
BLACKHOLE = "drop"
RESET = "tcp flags & rst == 0 reject with tcp reset"
_libc = ctypes.CDLL(None, use_errno=True)


@functools.cache
def refused(*programs: str) -> str | None:
    """Return why this process can make none, or which program is missing for it, or None."""
    if os.geteuid() != 0:
        return "namespaces and mounts need root: run the tests with sudo"
    missing = {PACKAGES[name] for name in ("unshare", *programs) if shutil.which(name) is None}
    if missing:
        return f"programs are missing: apt install {' '.join(sorted(missing))}"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "true"], capture_output=True, check=False
    )
    return "namespaces are refused here, even to root" if tried.returncode else None


def needed(*programs: str) -> pytest.MarkDecorator:
    """Return the mark of a test that makes some, and runs these programs in them."""
    why = refused(*programs)
    return pytest.mark.skipif(why is not None, reason=why or "")


@contextmanager
def own_network() -> Iterator[None]:
    """Give this thread, and what it starts, their own loopback with a wire's MTU."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _call(_libc.unshare, CLONE_NEWNET)
        try:
            size = ("mtu", "1500", "gso_max_size", "1500")
            _run("ip", "link", "set", "lo", "up", *size)
            yield
        finally:
            _call(_libc.setns, before, CLONE_NEWNET)
    finally:
        os.close(before)


@contextmanager
def damaged(rule: str) -> Iterator[None]:
    """Apply an nft rule to every packet."""
    _run("nft", "add table inet faults")
    try:
        _run("nft", "add chain inet faults damage { type filter hook input priority 0; }")
        _run("nft", f"add rule inet faults damage {rule}")
        yield
    finally:
        _run("nft", "delete table inet faults")


@contextmanager
def slow(rate: str) -> Iterator[None]:
    """Limit the rate, in tc's notation."""
    qdisc = ("dev", "lo", "root", "tbf", "rate", rate, "burst", "16kb", "latency", "400ms")
    _run("tc", "qdisc", "add", *qdisc)
    try:
        yield
    finally:
        _run("tc", "qdisc", "del", "dev", "lo", "root")


def _call(function: object, *arguments: int) -> None:
    if function(*arguments):  # type: ignore[operator]
        raise OSError(ctypes.get_errno(), "no network namespace of our own")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=30)
