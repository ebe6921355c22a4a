"""Changes to an interface: shape it under a lease, or remove our shaping.

Only kernel defaults are replaced, never other qdiscs. ``tc``'s state is compared as numbers, so
that calls are idempotent and check mode is right. The lease's timer is armed before shaping.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible.module_utils import netem_lease
from ansible.module_utils.netem_host import Host, NetemError
from ansible.module_utils.netem_layout import HANDLE, Step
from ansible.module_utils.netem_shaping import Shaping, root_of

# Errors of tc and ip for missing kernel parts.
LACKING = (
    *("qdisc kind is unknown", "qdisc not found", "classifier not found", "nknown device type"),
    *("Failed to load TC action", "Operation not supported", "No such file or directory"),
)


class Changes:
    """Changes to the host, undone on failure."""

    def __init__(self, host: Host, sandbox: Sequence[str] = ()) -> None:
        self._host, self._sandbox = host, sandbox

    def arm(self, seconds: int, description: str) -> None:
        """Renew the lease; on failure remove the shaping too."""
        self.disarm()
        status, said = self._host.ask(*self._host.lease.arm(seconds, description, self._sandbox))
        if status or self._host.armed() != description:
            self.revert()
            raise NetemError(
                "systemd does not arm the timer that would end the shaping, so nothing is shaped: "
                f"{' '.join(said.split()) or 'no reason given'}"
            )

    def disarm(self) -> None:
        timer = f"{self._host.lease.unit}.timer"
        self._host.ask(self._host.tools.systemctl, "stop", timer)

    def apply(self, shaping: Shaping) -> None:
        if shaping.ours:
            self.revert()
        for step in shaping.layout.steps():
            program: str = getattr(self._host.tools, step.words[0])
            status, said = self._host.ask(program, *step.words[1:])
            if status:
                self.revert()
                self.disarm()
                raise NetemError(plain(said, step))

    def revert(self) -> None:
        self._host.ask("/bin/sh", "-c", self._host.lease.revert())
        root = root_of(self._host.qdiscs(self._host.interface))
        if root.get("handle") == HANDLE or self._host.has(self._host.mirror):
            raise NetemError(
                f"{self._host.interface} is still shaped: remove it with "
                f"`tc qdisc del dev {self._host.interface} root` and `ip link del "
                f"{self._host.mirror}`"
            )


def plain(complaint: str, step: Step) -> str:
    """Translate a command's complaint into an actionable sentence."""
    said = " ".join(complaint.split())
    if "istribution" in said and ".dist" in said:
        return f"this host's iproute2 came without its tables of distributions: {said}"
    if any(words in said for words in LACKING):
        return (
            f"the kernel of this host lacks {step.needs}: on Debian or Raspberry Pi OS it is in "
            "the stock kernel, elsewhere install the extra modules package "
            f"(linux-modules-extra-…) and reboot; `{' '.join(step.words[:4])} …` said: {said}"
        )
    return f"{step.words[0]} refused: {said or 'no reason given'}"


def present(host: Host, params: dict[str, Any], dry: bool) -> dict[str, Any]:
    """Shape the interface under a new lease, or renew it; return the result."""
    shaping, changes = Shaping(host, params), Changes(host, params["sandbox"])
    shaping.refuse()
    changed = not (shaping.ours and shaping.fits() and shaping.described())
    armed = netem_lease.describe(shaping.what) if changed else host.armed()
    renew = host.lease.renew(armed, bool(shaping.layout.mirror))
    if not dry:
        changes.arm(params["lease_s"], armed)
        if changed:
            changes.apply(shaping)
            if not Shaping(host, params).fits():
                changes.revert()
                changes.disarm()
                raise NetemError(f"tc took the values for {host.interface} but shows others")
            # A slow host may have used up its lease by now.
            if netem_lease.HELD not in host.ask("/bin/sh", "-c", renew)[1].split():
                changes.revert()
                raise NetemError(
                    f"shaping {host.interface} took longer than its lease of {params['lease_s']} "
                    "s: give it a longer one with netem_lease"
                )
    return {
        "changed": changed,
        "found": shaping.root["kind"],
        "wanted": shaping.values,
        "command": " ".join(shaping.layout.netem),
        "beside_ssh": shaping.beside_ssh,
        "lease_s": params["lease_s"],
        "renew": renew,
    }


def absent(host: Host, params: dict[str, Any], dry: bool) -> dict[str, Any]:
    shaping, changes = Shaping(host, params), Changes(host)
    armed = bool(host.armed())
    if not dry:
        if shaping.ours:
            changes.revert()
        if armed:
            changes.disarm()
    return {"changed": shaping.ours or armed, "found": shaping.root["kind"]}
