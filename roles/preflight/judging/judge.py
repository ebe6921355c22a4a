"""Run all checks, and format their findings for people."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from . import engines, gpu, hardware, login, network, pytorch, upgrades
from .findings import Asked, Finding, Host, Verdict

WIDTH = 100
PER_HOST: dict[str, Callable[[Host, Asked], Verdict | None]] = {
    "login": login.login,
    "clock": login.clock,
    "Python": login.python,
    "convolution": pytorch.convolution,
    "torch release": pytorch.release,
    "GPU": gpu.gpu,
    "engine": engines.engine,
    "memory": hardware.memory,
    "memory limit": hardware.limit,
    "swap": hardware.swap,
    "disk": hardware.disk,
    "governor": hardware.governor,
    "throttling": hardware.throttling,
    "upgrades": upgrades.upgrades,
    "noise": hardware.noise,
    "burn-in": hardware.burn_in,
    "interface": network.interface,
    "route": network.route,
    "qdisc": network.qdisc,
    "netem": network.netem,
}
#: Skipped on a host that only shapes.
OF_THE_RUNTIME = {
    "Python",
    "convolution",
    "torch release",
    "GPU",
    "engine",
    "memory",
    "swap",
    "disk",
    "noise",
}
TOGETHER: dict[str, Callable[[Sequence[Host], Asked], Verdict | None]] = {
    "versions": pytorch.together,
    "congestion control": network.congestion,
    "machine": network.machines,
}


def judge(hosts: Sequence[Host], asked: Asked) -> list[Finding]:
    said: list[tuple[str, str, Verdict | None]] = []
    for host in hosts:
        if host.trouble:
            said.append(("login", host.name, login.trouble(host.trouble)))
            continue
        skipped = set() if host.duty["runtime"] else OF_THE_RUNTIME
        said += [
            (name, host.name, check(host, asked))
            for name, check in PER_HOST.items()
            if name not in skipped
        ]
    seen = [host for host in hosts if not host.trouble]
    said += [(name, "", check(seen, asked)) for name, check in TOGETHER.items()]
    return [Finding(name, each.level, host, each.text) for name, host, each in said if each]


def lines(findings: Sequence[Finding]) -> list[str]:
    """Return each host's ok findings in a line, notes and stops below, then those of all hosts.

    Stops come last, where the eye ends.
    """
    hosts = list(dict.fromkeys(finding.host for finding in findings if finding.host))
    width = max(map(len, hosts), default=0)
    text = []
    for host in hosts:
        own = [finding for finding in findings if finding.host == host]
        well = ", ".join(finding.text for finding in own if finding.level == "ok")
        text += _wrapped(f"{host:<{width}}  ", width + 2, well or "nothing could be seen")
        for line in _others(own):
            text += _wrapped(" " * (width + 2), width + 4, line)
    for line in _others([finding for finding in findings if not finding.host]):
        text += _wrapped("", 2, line)
    return text


def notes(findings: Sequence[Finding]) -> list[str]:
    """Return the notes alone, each text once with its hosts."""
    texts: dict[str, list[str]] = {}
    for finding in findings:
        if finding.level == "note":
            texts.setdefault(finding.text, []).append(finding.host)
    return [f"note: {', '.join(filter(None, h)) or 'all hosts'}: {t}" for t, h in texts.items()]


def stops(findings: Sequence[Finding]) -> list[str]:
    return [finding.sentence for finding in findings if finding.level == "stop"]


def _wrapped(before: str, indent: int, line: str) -> list[str]:
    return textwrap.wrap(
        before + line,
        WIDTH,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _others(findings: Sequence[Finding]) -> list[str]:
    return [
        f"{mark}: {finding.text}"
        for level, mark in (("note", "note"), ("stop", "STOP"))
        for finding in findings
        if finding.level == level
    ]
