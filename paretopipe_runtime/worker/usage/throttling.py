"""Throttling of a Raspberry Pi, sampled while a run is measured.

Three can tell:

- the kernel, while its driver raspberrypi-hwmon (`rpi_volt`) is loaded. Every 2 s it asks the
  firmware and has it clear the sticky bits, so that those in `get_throttled` are of the last
  seconds. Without the driver that file is as old as the boot (drivers/firmware and drivers/hwmon of
  https://github.com/raspberrypi/linux);
- vcgencmd, which asks the firmware at each call, through a device that our units cannot see. Its
  sticky bits are others, and last until the next boot;
- the same driver's alarm, of low voltage alone, where the kernel has no such file: a mainline one,
  and some of Ubuntu's.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from paretopipe_runtime.contract.measures import NOT_WATCHED, VOLTAGE_ALONE
from paretopipe_runtime.environment import find, read

EVERY_S = 0.4
FLAGS = 0xF  # under-voltage, frequency capped, throttled, soft temperature limit: now
STICKY_SHIFT = 16  # the same, since they were last cleared
GET_THROTTLED = "sys/devices/platform/*/*firmware/get_throttled"  # below soc, or soc@107c000000
HWMON = "sys/class/hwmon/hwmon*/name"
DRIVER = "rpi_volt"
ALARM = "in0_lcrit_alarm"  # low voltage within the last seconds
_PATIENCE_S = 2.0


@dataclass(frozen=True)
class Source:
    """Reader of the throttle bits; `recent` if the sticky ones are of the last seconds."""

    name: str
    read: Callable[[], int | None]
    recent: bool = False


class Throttling:
    """Samples throttling bits between `start` and `stop`, in a thread; without a source in none.

    vcgencmd's sticky bits last, whatever this run did: only those that appear meanwhile count.
    """

    def __init__(self, source: Source | None, every_s: float = EVERY_S) -> None:
        self._source = source
        self._every_s = every_s
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: int | None = None
        self._seen = 0
        self._samples = 0

    def start(self) -> None:
        self._sample()
        if self._samples:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()

    def stop(self) -> dict[str, str | int | None]:
        """Return who told, the last bits, the flags of all samples, and their count."""
        self._over.set()
        if self._thread:
            self._thread.join(_PATIENCE_S)
            self._sample()
        told = self._source if self._samples else None
        return {
            "throttle_watch": told.name if told else NOT_WATCHED,
            "throttled": None if self._last is None else hex(self._last),
            "throttled_live": hex(self._seen) if told else None,
            "throttled_samples": self._samples,
        }

    def _watch(self) -> None:
        while not self._over.wait(self._every_s):
            self._sample()

    def _sample(self) -> None:
        bits = self._source.read() if self._source else None
        if self._source is None or bits is None:
            return
        first = bits if self._last is None else self._last
        earlier = 0 if self._source.recent else first
        self._seen |= FLAGS & (bits | (bits & ~earlier) >> STICKY_SHIFT)
        self._last = bits
        self._samples += 1


def source() -> Source | None:
    """Return who tells of this host, None where nobody does."""
    driver = next((name.parent for name in find(HWMON) if read(name) == DRIVER), None)
    path = next(iter(find(GET_THROTTLED)), None)
    if driver and path:
        return Source("the kernel", functools.partial(_of_kernel, path), recent=True)
    program = shutil.which("vcgencmd")
    if program and _of_firmware(program) is not None:
        return Source("vcgencmd", functools.partial(_of_firmware, program))
    if driver and (driver / ALARM).exists():
        return Source(VOLTAGE_ALONE, functools.partial(_of_kernel, driver / ALARM))
    return None


def _of_kernel(path: Path) -> int | None:
    return _bits(read(path))


def _of_firmware(program: str) -> int | None:
    return _bits(_output(program, "get_throttled"))


def _bits(said: str | None) -> int | None:
    found = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", said or "")
    return int(found[1], 16) if found else None


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, timeout=2, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None
