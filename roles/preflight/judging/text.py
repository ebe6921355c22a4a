"""Format findings for people."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from .findings import Finding

WIDTH = 100


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


def stops(findings: Sequence[Finding]) -> list[str]:
    return [finding.sentence for finding in findings if finding.level == "stop"]


def _wrapped(before: str, indent: int, line: str) -> list[str]:
    return textwrap.wrap(
        before + line,
        WIDTH,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def _others(findings: Sequence[Finding]) -> list[str]:
    return [
        f"{mark}: {finding.text}"
        for level, mark in (("note", "note"), ("stop", "STOP"))
        for finding in findings
        if finding.level == level
    ]
