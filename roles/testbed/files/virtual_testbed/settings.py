"""What a testbed consists of: hosts, addresses, limits and places on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

CONTROLLER = 1  # last number of the controller's management address
HOST_NUMBERS = {"server": 10, "pi1": 11, "pi2": 12}
WAN = "wan"
WAN_NUMBER = 2


@dataclass(frozen=True)
class Host:
    """A virtual node and what it may use of the machine."""

    name: str
    cpu: int
    cpu_percent: int
    memory_mib: int

    def deployment(self, limits_memory: bool) -> str:
        """Say what the host is, in words for whoever reads a result that it gave."""
        memory = f"{self.memory_mib / 1024:g} GiB of" if limits_memory else "no limit on"
        return f"virtual testbed: {self.cpu_percent} % of one processor, {memory} memory"

    @property
    def number(self) -> int:
        """The last number of both of the host's addresses."""
        return HOST_NUMBERS[self.name]


@dataclass(frozen=True)
class Settings:
    """Everything one testbed is made from; equal settings make equal testbeds."""

    id: int
    state_root: Path
    requirements: Path
    optional: Path
    wan: str  # "kernel" or "uml"; "auto" until resolved
    hosts: tuple[Host, ...]
    hidden: tuple[Path, ...] = field(default=())  # folders of this machine that no host may see

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Settings:
        """Build settings from the JSON object that the role passes."""
        hosts = (
            Host(
                name,
                int(raw["limits"][name]["cpu"]),
                int(raw["limits"][name]["cpu_percent"]),
                int(raw["limits"][name]["memory_mib"]),
            )
            for name in HOST_NUMBERS
        )
        return cls(
            id=int(raw["id"]),
            state_root=Path(raw["state_root"]).resolve(),
            requirements=Path(raw["requirements"]).resolve(),
            optional=Path(raw["optional"]).resolve(),
            wan=str(raw["wan"]),
            hosts=tuple(hosts),
            hidden=tuple(Path(path).resolve() for path in raw.get("hidden", ())),
        )

    @classmethod
    def of_checkout(cls, checkout: Path) -> Settings:
        """Return what the role's defaults say about a checkout's image; there are no hosts."""
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
        """A short name, unique per testbed: of cgroups, machines and the controller's NIC."""
        return f"pptb{self.id}"

    @property
    def folder(self) -> Path:
        """Where this testbed keeps keys, logs and the hosts' writable layers."""
        return self.state_root / str(self.id)

    @property
    def state_file(self) -> Path:
        """Names the running testbed's root process."""
        return self.folder / "state.json"

    @property
    def members(self) -> tuple[str, ...]:
        """The names of all machines, the link's box included."""
        return (*(host.name for host in self.hosts), WAN)

    def experiment_address(self, number: int) -> str:
        """Return an address on the network under measurement."""
        return f"10.78.{self.id}.{number}"

    def management_address(self, name: str) -> str:
        """Return the address at which the controller reaches a machine."""
        return f"10.79.{self.id}.{HOST_NUMBERS.get(name, WAN_NUMBER)}"

    @property
    def controller_address(self) -> str:
        """The controller's own, and only, address in the testbed."""
        return f"10.79.{self.id}.{CONTROLLER}"

    @cached_property
    def digest(self) -> str:
        """Identify the settings and the code that acts on them, to notice a stale testbed."""
        seen = hashlib.sha256(json.dumps(asdict(self), default=str, sort_keys=True).encode())
        for source in sorted(Path(__file__).parent.glob("*.py")):
            seen.update(source.read_bytes())
        return seen.hexdigest()[:16]
