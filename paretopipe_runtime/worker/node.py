"""What a stage process knows of the node it runs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from paretopipe_runtime.wire.connect import Keys
from paretopipe_runtime.wire.tls import Identity

#: Where each backend's `connect` is. A backend is imported by the first run that asks for it.
BACKENDS = {
    "socket": "paretopipe_runtime.worker.backends.socket",
    "rpc": "paretopipe_runtime.worker.backends.rpc",
    "rpc_hub": "paretopipe_runtime.worker.backends.rpc",
}


@dataclass(frozen=True)
class Node:
    """A node's name and address, its shared key, its state folder and what it lets runs do.

    Without `identity` it does no TLS.
    """

    name: str
    address: str
    key: bytes = field(repr=False)
    state_dir: Path
    allow_insecure_rpc: bool = False
    backends: Mapping[str, str] = field(default_factory=lambda: BACKENDS)
    identity: Identity | None = None

    @property
    def keys(self) -> Keys:
        """What it proves itself with to another node."""
        return Keys(self.key, self.identity)

    @property
    def store(self) -> Path:
        """Where weight files rest, each under its sha256."""
        return self.state_dir / "weights"

    @property
    def engine_cache(self) -> Path:
        """Where engines keep what they prepared."""
        return self.state_dir / "engines"
