"""A Raspberry Pi as its kernel shows it: the files below /etc, /proc and /sys that we read of it.

As https://github.com/raspberrypi/linux lays them out (drivers/firmware/raspberrypi.c,
drivers/hwmon/raspberrypi-hwmon.c), and Raspberry Pi OS boots.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path

SOCS = {"4 Model B Rev 1.4": "soc", "5 Model B Rev 1.0": "soc@107c000000"}
PI4, PI5 = SOCS
LIVE_VOLTAGE, LIVE_HEAT = 0x1, 0x8


@dataclass
class Raspberry:
    """One whose files are below `root`.

    Without `get_throttled`, its kernel has the driver's alarm alone, as mainline has. With `limits`
    it was booted with cgroup_enable=memory.
    """

    root: Path
    model: str = PI4
    get_throttled: bool = True
    driver: bool = True
    limits: bool = False
    swap: str = ""
    governor: str = "ondemand"
    _live: int = 0
    _sticky: int = 0
    _pages: dict[str, int] = field(default_factory=lambda: {"pswpin": 0, "pswpout": 0})

    def __post_init__(self) -> None:
        self.write("proc/device-tree/model", f"Raspberry Pi {self.model}\0")
        cores = "".join(f"processor\t: {core}\nFeatures\t: fp asimd crc32\n\n" for core in range(4))
        self.write("proc/cpuinfo", f"{cores}Model\t\t: Raspberry Pi {self.model}\n")
        self.write("proc/meminfo", "MemTotal: 3884000 kB\nMemAvailable: 3400000 kB\n")
        self.write("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n" + self.swap)
        self.write("etc/os-release", 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n')
        usual = "cpuset cpu io pids"
        self.write("sys/fs/cgroup/cgroup.controllers", usual + " memory" * self.limits)
        memory = "cgroup_disable=memory" + " cgroup_enable=memory" * self.limits
        self.write("proc/cmdline", f"{memory} console=tty1 rootwait\n")
        self.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal")
        self.write("sys/class/thermal/thermal_zone0/temp", "52582")
        self.write("sys/class/hwmon/hwmon0/name", "cpu_thermal")
        if self.driver:
            self.write("sys/class/hwmon/hwmon1/name", "rpi_volt")
        for core in range(4):
            self.write(f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor", self.governor)
        self.swapped(0)
        self.boot()
        self.poll()

    def write(self, path: str, text: str | bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{file.name}")  # nobody reads half of it
        new.write_bytes(text if isinstance(text, bytes) else f"{text}\n".encode())
        return new.replace(file)

    def boot(self) -> None:
        self.boot_id = str(uuid.uuid4())
        self.write("proc/sys/kernel/random/boot_id", self.boot_id)

    def swapped(self, pages: int) -> None:
        """Send so many pages to swap, and have half of them back."""
        self._pages["pswpout"] += pages
        self._pages["pswpin"] += pages // 2
        lines = "".join(f"{name} {count}\n" for name, count in self._pages.items())
        self.write("proc/vmstat", f"nr_free_pages 9000\n{lines}oom_kill 0\n")

    def hold_back(self, bits: int) -> None:
        """Set the firmware's live bits; they stick until the driver asks."""
        self._live = bits
        self._sticky |= bits

    def poll(self) -> None:
        """Ask the firmware and clear the sticky bits, as the driver does every 2 s."""
        said = self._sticky << 16 | self._live
        self._sticky = self._live
        if self.get_throttled:
            soc = SOCS[self.model]
            self.write(f"sys/devices/platform/{soc}/{soc}:firmware/get_throttled", f"{said:x}")
        if self.driver:
            self.write("sys/class/hwmon/hwmon1/in0_lcrit_alarm", str(said >> 16 & 1))
