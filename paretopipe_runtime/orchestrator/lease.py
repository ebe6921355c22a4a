"""The lease of whoever started a sweep: without it the sweep goes no further."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

SECOND_LOOK_S = 5.0  # a controller renews its lease every 2 s


@dataclass(frozen=True)
class Lease:
    """A file that is touched again and again; without a path there is nobody to wait for."""

    path: Path | None
    seconds: float

    def expired(self) -> bool:
        """Whether whoever holds it has stopped touching it.

        A clock that was set, either way, makes a lease look old until it is touched the next time,
        so an old one is looked at twice.
        """
        if not self.is_old():
            return False
        time.sleep(SECOND_LOOK_S)
        return self.is_old()

    def is_old(self) -> bool:
        """Whether it looks so now: enough to doubt a run, not to end a sweep."""
        if self.path is None:
            return False
        try:
            return abs(time.time() - self.path.stat().st_mtime) > self.seconds
        except FileNotFoundError:
            return True
