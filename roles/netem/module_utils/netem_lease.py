"""The lease: a systemd timer that removes our shaping unless renewed.

It is armed before shaping. Its script is the only way to remove shaping, and touches only our
marks. The timer's description states the shaping, so that a renewal detects changes.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from ansible.module_utils.netem_layout import HANDLE, PREFERENCE

HELD, LOST = "held", "lost"  # what `Lease.renew` prints
_TITLE = "ParetoPipe netem"


@dataclass(frozen=True)
class Tools:
    tc: str
    ip: str
    systemctl: str
    systemd_run: str


@dataclass(frozen=True)
class Lease:
    """One interface's lease; `mirror` is the device for incoming traffic, present or not."""

    tools: Tools
    interface: str
    mirror: str

    @property
    def unit(self) -> str:
        return "paretopipe-netem-revert-" + re.sub(r"[^A-Za-z0-9:_.-]", "_", self.interface)

    def revert(self) -> str:
        """Return the script that removes our shaping.

        It has no ``$``, which systemd would expand.
        """
        tc, ip = shlex.quote(self.tools.tc), shlex.quote(self.tools.ip)
        interface = shlex.quote(self.interface)
        lines = [
            f"if {tc} qdisc show dev {interface} root | grep -q '^qdisc [a-z]* {HANDLE} '; then",
            f"{tc} qdisc del dev {interface} root; fi",
            # The device outlives redirections to it.
            f"if {ip} link show dev {self.mirror} >/dev/null 2>&1; then",
            *(
                f"{tc} filter del dev {interface} ingress pref {preference} 2>/dev/null"
                for preference in PREFERENCE.values()
            ),
            # Remaining filters are someone else's, and need the qdisc.
            f"{tc} filter show dev {interface} ingress | grep -q . ||",
            f"{tc} qdisc del dev {interface} ingress 2>/dev/null",
            f"{ip} link del {self.mirror}; fi",
        ]
        return "\n".join(lines)

    def arm(self, seconds: int, description: str, sandbox: Sequence[str]) -> list[str]:
        """Return the command that arms it; no unit of its name may exist."""
        told = f"\necho 'The lease is over: {self.interface} is as it was.'"
        return [
            self.tools.systemd_run,
            *("--quiet", "--collect", f"--unit={self.unit}", f"--description={description}"),
            *(f"--on-active={seconds}", "--timer-property=AccuracySec=100ms"),
            # A renewal is a start: systemd refuses the sixth within ten seconds.
            "--timer-property=StartLimitIntervalSec=0",
            *(f"--property={line}" for line in sandbox),
            *("/bin/sh", "-c", self.revert() + told),
        ]

    def renew(self, description: str, mirrored: bool) -> str:
        """Return the shell line that restarts the timer if all is as described.

        It prints ``held`` or ``lost``, nothing if systemd does not answer. `mirrored`:
        incoming traffic is redirected.
        """
        tc, systemctl = shlex.quote(self.tools.tc), shlex.quote(self.tools.systemctl)
        timer, interface = shlex.quote(f"{self.unit}.timer"), shlex.quote(self.interface)
        redirected = f" && {tc} filter show dev {interface} ingress | grep -q ' {self.mirror})'"
        arrives = redirected if mirrored else ""
        return (
            f"said=$({systemctl} show --property=Description --value {timer}) && "
            f'if [ "$said" = {shlex.quote(description)} ] && '
            f"{tc} qdisc show dev {interface} root | grep -q '^qdisc [a-z]* {HANDLE} '{arrives}; "
            f"then {systemctl} restart {timer} && echo {HELD}; else echo {LOST}; fi"
        )


def describe(what: Sequence[str]) -> str:
    """Return a timer's description: a unique token and `what`."""
    return f"{_TITLE} {secrets.token_hex(4)} {' '.join(what)}"


def described(description: str, what: Sequence[str]) -> bool:
    """Tell whether a timer's description states exactly `what`."""
    words = description.split()
    return words[:2] == _TITLE.split() and words[3:] == [*what]
