"""What a stage process knows of the node it runs on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Node:
    """A node's name, its shared key and its state folder."""

    name: str
    key: bytes = field(repr=False)
    state_dir: Path

    @property
    def store(self) -> Path:
        """Where weight files rest, each under its sha256."""
        return self.state_dir / "weights"
