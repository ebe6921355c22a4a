"""The common sandbox of our units; a unit names only its differences."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

#: A list makes one line each: in a transient unit systemd 252 accepts localhost only by
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
#: Needs namespaces or BPF, which not every host has. ProcSubset is missing because agents
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
    """Return a unit's sandbox lines; `differs` overrides, None removes a directive.

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
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"job_sandbox": job_sandbox}
