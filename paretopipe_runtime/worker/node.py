"""The node that a worker's processes run on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from paretopipe_runtime.wire.keys import Keys
from paretopipe_runtime.wire.tls import Identity

#: Where each backend's `connect` is. A backend is imported by the first run that asks for it.
BACKENDS = {
    "socket": "paretopipe_runtime.worker.backends.socket",
    "rpc": "paretopipe_runtime.worker.backends.rpc",
    "rpc_hub": "paretopipe_runtime.worker.backends.rpc",
}


@dataclass(frozen=True)
class Node:
    """A node's name, experiment address, keys, state folder and permissions."""

    name: str
    address: str
    keys: Keys
    state_dir: Path
    allow_insecure_rpc: bool = False
    backends: Mapping[str, str] = field(default_factory=lambda: BACKENDS)

    def to_json(self) -> bytes:
        """Encode it, key included: for this node's own processes only."""
        return json.dumps(
            asdict(self), default=lambda value: value.hex() if type(value) is bytes else str(value)
        ).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        given = json.loads(data)
        files, peers = given["keys"]["identity"], given["keys"]["peers"]
        identity = Identity(Path(files["certificate"]), Path(files["authority"])) if files else None
        keys = Keys(
            bytes.fromhex(given["keys"]["own"]),
            identity,
            {name: bytes.fromhex(key) for name, key in peers.items()},
        )
        return cls(**{**given, "keys": keys, "state_dir": Path(given["state_dir"])})

    @property
    def store(self) -> Path:
        """Folder of weight files, each under its sha256."""
        return self.state_dir / "weights"

    @property
    def engine_cache(self) -> Path:
        """Folder of what engines prepared."""
        return self.state_dir / "engines"
