"""The lease: a systemd timer that takes our shaping away unless somebody renews it in time.

It is armed before anything is shaped. The shell script it runs is the only way in which shaping is
ever removed, by the module too; it looks for our marks at that moment and leaves the rest alone.
The timer's description says what was shaped, so whoever renews sees if that is no longer so.
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
    """The programs on the host that is shaped."""

    tc: str
    ip: str
    systemctl: str
    systemd_run: str


@dataclass(frozen=True)
class Lease:
    """The lease on one interface; `mirror` is the device for what comes in, there or not."""

    tools: Tools
    interface: str
    mirror: str

    @property
    def unit(self) -> str:
        """The timer's and its service's name, without what comes after the dot."""
        return "paretopipe-netem-revert-" + re.sub(r"[^A-Za-z0-9:_.-]", "_", self.interface)

    def revert(self) -> str:
        """Return the script that removes what is ours.

        It has no ``$``: systemd would put a variable's value there.
        """
        tc, ip = shlex.quote(self.tools.tc), shlex.quote(self.tools.ip)
        interface = shlex.quote(self.interface)
        lines = [
            f"if {tc} qdisc show dev {interface} root | grep -q '^qdisc [a-z]* {HANDLE} '; then",
            f"{tc} qdisc del dev {interface} root; fi",
            # The device is there before what redirects to it, and goes after it.
            f"if {ip} link show dev {self.mirror} >/dev/null 2>&1; then",
            *(
                f"{tc} filter del dev {interface} ingress pref {preference} 2>/dev/null"
                for preference in PREFERENCE.values()
            ),
            # Filters that are left are somebody else's, and need the qdisc.
            f"{tc} filter show dev {interface} ingress | grep -q . ||",
            f"{tc} qdisc del dev {interface} ingress 2>/dev/null",
            f"{ip} link del {self.mirror}; fi",
        ]
        return "\n".join(lines)

    def arm(self, seconds: int, description: str, sandbox: Sequence[str]) -> list[str]:
        """Return the command that arms it; one of the same name must not be there."""
        told = f"\necho 'The lease is over: {self.interface} is as it was.'"
        return [
            self.tools.systemd_run,
            *("--quiet", "--collect", f"--unit={self.unit}", f"--description={description}"),
            *(f"--on-active={seconds}", "--timer-property=AccuracySec=100ms"),
            # A renewal is a start, and systemd would refuse the sixth within ten seconds.
            "--timer-property=StartLimitIntervalSec=0",
            *(f"--property={line}" for line in sandbox),
            *("/bin/sh", "-c", self.revert() + told),
        ]

    def renew(self, description: str, mirrored: bool) -> str:
        """Return the shell line that starts the time anew where all is as it was described.

        It prints ``held`` or ``lost``, or nothing where systemd gives no answer. `mirrored` says
        whether what comes in is to be redirected to our device.
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
    """Return a timer's description: a token that makes it this one's, and `what` is shaped."""
    return f"{_TITLE} {secrets.token_hex(4)} {' '.join(what)}"


def described(description: str, what: Sequence[str]) -> bool:
    """Whether a timer's description says that just this is shaped."""
    words = description.split()
    return words[:2] == _TITLE.split() and words[3:] == [*what]
