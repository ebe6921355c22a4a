"""Rate-limited log of refused connections.

Journald's limit would drop stages' lines too, and needs systemd.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

BURST = 20
LINES_A_SECOND = 1.0


class RefusalLog:
    """Writes `BURST` lines at once, then `LINES_A_SECOND`, counting those left out."""

    def __init__(
        self,
        write: Callable[[str], object] = lambda line: print(line, file=sys.stderr, flush=True),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._clock = clock
        self._lock = threading.Lock()
        self._room = float(BURST)
        self._at = clock()
        self._left_out = 0

    def write(self, line: str) -> None:
        """Write one line, or only count it."""
        with self._lock:
            now = self._clock()
            self._room = min(self._room + (now - self._at) * LINES_A_SECOND, BURST)
            self._at = now
            if self._room < 1:
                self._left_out += 1
                return
            self._room -= 1
            if self._left_out:
                line += f" (and {self._left_out} such lines before it were left out)"
                self._left_out = 0
            self._write(line)
