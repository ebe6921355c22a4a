"""A Raspberry Pi's throttle bits, sampled while a run is measured."""

from __future__ import annotations

import threading
from collections.abc import Callable

from paretopipe_runtime import environment

EVERY_S = 0.4
LIVE = 0xF  # under-voltage, frequency capped, throttled, soft temperature limit: now
_PATIENCE_S = 2.0


class Throttling:
    """Samples throttling bits between `start` and `stop`, in a thread.

    Live bits come and go; sticky ones last until reboot, whatever this run did. `read` returns
    hex; None means no such host, and no thread.
    """

    def __init__(
        self, read: Callable[[], str | None] = environment.throttled, every_s: float = EVERY_S
    ) -> None:
        self._read = read
        self._every_s = every_s
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: str | None = None
        self._live = 0
        self._samples = 0

    def start(self) -> None:
        self._sample()
        if self._samples:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()

    def stop(self) -> dict[str, str | int | None]:
        """Return the last bits, all samples' live ones, and the sample count."""
        self._over.set()
        if self._thread:
            self._thread.join(_PATIENCE_S)
            self._sample()
        return {
            "throttled": self._last,
            "throttled_live": hex(self._live) if self._samples else None,
            "throttled_samples": self._samples,
        }

    def _watch(self) -> None:
        while not self._over.wait(self._every_s):
            self._sample()

    def _sample(self) -> None:
        bits = self._read()
        if bits is not None:
            self._last = bits
            self._live |= int(bits, 16) & LIVE
            self._samples += 1
