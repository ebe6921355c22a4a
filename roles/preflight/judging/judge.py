"""Run all checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import hardware, login, network, pytorch
from .findings import Asked, Finding, Host

PER_HOST: tuple[Callable[[Host, Asked], Finding | None], ...] = (
    login.login,
    login.clock,
    login.python,
    pytorch.convolution,
    pytorch.release,
    hardware.memory,
    hardware.disk,
    hardware.governor,
    hardware.throttling,
    network.interface,
    network.qdisc,
    network.netem,
)
#: Skipped on a host that only shapes.
OF_THE_RUNTIME = {
    login.python,
    pytorch.convolution,
    pytorch.release,
    hardware.memory,
    hardware.disk,
}
TOGETHER: tuple[Callable[[Sequence[Host], Asked], Finding | None], ...] = (
    pytorch.together,
    network.congestion,
)


def judge(hosts: Sequence[Host], asked: Asked) -> list[Finding]:
    findings: list[Finding | None] = []
    for host in hosts:
        if host.trouble:
            findings.append(login.trouble(host))
        else:
            skipped = set() if host.duty["runtime"] else OF_THE_RUNTIME
            findings += [check(host, asked) for check in PER_HOST if check not in skipped]
    seen = [host for host in hosts if not host.trouble]
    findings += [check(seen, asked) for check in TOGETHER]
    return [finding for finding in findings if finding is not None]
