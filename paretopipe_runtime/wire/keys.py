"""Keys of a node: one that commands it, and one for each peer, which lets in links alone.

The controller makes all of them from one that never leaves it, so that a stolen node commands no
other. The orchestrator has the key that commands each node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.tls import Identity

OWN = "-"


@dataclass(frozen=True)
class Keys:
    """A node's proofs: keys and, for TLS, a certificate.

    `own` commands this node, and without `peers` every other too. The orchestrator's is empty.
    """

    own: bytes = field(repr=False)
    identity: Identity | None = None
    peers: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def towards(self, node: str) -> bytes:
        """Return the key that `node` knows this one by; raises ``E_KEY``."""
        if not self.peers:
            return self.own
        try:
            return self.peers[node]
        except KeyError:
            raise ParetoPipeError(
                "E_KEY",
                f"this host has no key for {node}, only for {', '.join(self.peers)} — run "
                "playbooks/provision.yml with the inventory that has it",
            ) from None

    @property
    def links(self) -> tuple[bytes, ...]:
        """Keys that let in links alone."""
        return tuple(self.peers.values())

    @classmethod
    def read(cls, path: Path, identity: Identity | None = None) -> Self:
        """Read what provisioning installed: lines of a node's name, ``-`` for this one, and a key.

        A key alone is everyone's. A key is 64 hex digits. Raises ``E_KEY``.
        """
        try:
            text = [line for line in path.read_text().splitlines() if not line.startswith("#")]
            lines = [line.split() for line in text if line.strip()]
            found = {line[0] if len(line) > 1 else OWN: _key(line[-1]) for line in lines}
        except (OSError, ValueError) as error:
            raise ParetoPipeError(
                "E_KEY", f"no usable key in {path}: {error} — run playbooks/provision.yml"
            ) from error
        if not found or any(len(line) > 2 for line in lines):
            raise ParetoPipeError(
                "E_KEY",
                f"{path} holds no keys as playbooks/provision.yml writes them — run it",
            )
        return cls(found.pop(OWN, b""), identity, found)


def _key(text: str) -> bytes:
    key = bytes.fromhex(text)
    if len(key) != 32:
        raise ValueError(f"a key has {len(key)} bytes, expected 32 in hex")
    return key
