"""A testbed's hosts, addresses, limits and paths."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

CONTROLLER, WAN = "controller", "wan"
# Last numbers of addresses. A testbed has those that have limits.
HOST_NUMBERS = {"server": 10, "pi1": 11, "pi2": 12, "pi3": 13}
MANAGEMENT_NUMBERS = {CONTROLLER: 1, WAN: 2, **HOST_NUMBERS}


@dataclass(frozen=True)
class Host:
    """A virtual node and its limits."""

    name: str
    cpu: int
    cpu_percent: int
    memory_mib: int

    def deployment(self, limits_memory: bool) -> str:
        """Describe the host for readers of its results."""
        memory = f"{self.memory_mib / 1024:g} GiB of" if limits_memory else "no limit on"
        return f"virtual testbed: {self.cpu_percent} % of one processor, {memory} memory"


@dataclass(frozen=True)
class Settings:
    """A testbed's inputs; equal settings make equal testbeds.

    `boxed`: hosts whose traffic passes the link's box, by ``lan0`` and ``up0`` and so on.
    """

    id: int
    state_root: Path
    requirements: Path
    optional: Path
    wan: str  # "kernel" or "uml"; "auto" until resolved
    hosts: tuple[Host, ...]
    hidden: tuple[Path, ...] = ()  # folders hidden from hosts
    boxed: tuple[str, ...] = ("pi1",)

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Settings:
        limits = ("cpu", "cpu_percent", "memory_mib")
        hosts = (
            Host(name, *(int(raw["limits"][name][limit]) for limit in limits))
            for name in HOST_NUMBERS
            if name in raw["limits"]
        )
        return cls(
            id=int(raw["id"]),
            state_root=Path(raw["state_root"]).resolve(),
            requirements=Path(raw["requirements"]).resolve(),
            optional=Path(raw["optional"]).resolve(),
            wan=str(raw["wan"]),
            hosts=tuple(hosts),
            hidden=tuple(Path(path).resolve() for path in raw.get("hidden", ())),
            boxed=tuple(name for name in raw.get("boxed", ("pi1",)) if name in raw["limits"]),
        )

    @classmethod
    def of_checkout(cls, checkout: Path) -> Settings:
        """Return the role's defaults for a checkout's image, without hosts."""
        checkout = checkout.resolve()
        requirements = checkout / "requirements"
        return cls(
            id=0,
            state_root=checkout / ".testbed",
            requirements=requirements / "runtime.txt",
            optional=requirements / "engines.txt",
            wan="auto",
            hosts=(),
        )

    @property
    def name(self) -> str:
        """Unique short name, of cgroups, machines and the controller's NIC."""
        return f"pptb{self.id}"

    @property
    def folder(self) -> Path:
        return self.state_root / str(self.id)

    @property
    def state_file(self) -> Path:
        """Identifies the running root process."""
        return self.folder / "state.json"

    @property
    def ways(self) -> tuple[tuple[str, str], ...]:
        """The box's two sides of each boxed host."""
        return tuple((f"lan{place}", f"up{place}") for place, _ in enumerate(self.boxed))

    @property
    def members(self) -> tuple[str, ...]:
        """Names of all machines, the link's box included."""
        return (*(host.name for host in self.hosts), WAN)

    def experiment_address(self, host: str) -> str:
        return f"10.78.{self.id}.{HOST_NUMBERS[host]}"

    def management_address(self, name: str) -> str:
        """Return an address between the controller and the machines."""
        return f"10.79.{self.id}.{MANAGEMENT_NUMBERS[name]}"

    @cached_property
    def digest(self) -> str:
        """Digest of settings and code, to detect a stale testbed."""
        seen = hashlib.sha256(json.dumps(asdict(self), default=str, sort_keys=True).encode())
        for source in sorted(Path(__file__).parent.glob("*.py")):
            seen.update(source.read_bytes())
        return seen.hexdigest()[:16]
