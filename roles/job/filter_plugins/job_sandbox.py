"""The one list of what our units may not do; a unit names only in what it differs."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

#: A list is one line for each: in a transient unit systemd 252 knows the word localhost only by
#: itself. MemoryDenyWriteExecute is missing because torch compiles kernels.
SANDBOX: dict[str, str | Sequence[str] | None] = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "LockPersonality": "yes",
    "KeyringMode": "private",
    "UMask": "0022",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": ("@system-service", "~@privileged", "~@resources"),
    "SystemCallErrorNumber": "EPERM",
}
#: What needs namespaces or BPF, which not every host can make. ProcSubset is missing because agents
#: report the host's processor and memory from /proc.
WALLS: dict[str, str | Sequence[str] | None] = {
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectProc": "invisible",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "PrivateUsers": "yes",
    "RemoveIPC": "yes",
    "IPAddressDeny": "any",
}


def job_sandbox(
    differs: Mapping[str, str | Sequence[str] | None], walls: bool = True, drop: Container[str] = ()
) -> list[str]:
    """Return the lines of a unit's sandbox; a directive that `differs` in being None is left out.

    >>> job_sandbox({"UMask": None, "ProcSubset": "pid"}, walls=False)[-2:]
    ['SystemCallErrorNumber=EPERM', 'ProcSubset=pid']
    """
    values = {**SANDBOX, **(WALLS if walls else {}), **differs}
    return [
        f"{name}={line}"
        for name, value in values.items()
        if value is not None and name not in drop
        for line in ([value] if isinstance(value, str) else value)
    ]


class FilterModule:
    """The filters."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"job_sandbox": job_sandbox}
