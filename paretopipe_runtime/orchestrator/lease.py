"""The lease of whoever started a sweep: without it the sweep goes no further."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Lease:
    """A file that is touched again and again; without a path there is nobody to wait for."""

    path: Path | None
    seconds: float

    def expired(self) -> bool:
        """Whether whoever holds it has stopped touching it."""
        if self.path is None:
            return False
        try:
            return time.time() - self.path.stat().st_mtime > self.seconds
        except FileNotFoundError:
            return True
