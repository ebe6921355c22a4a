"""The processor's temperature, from a sensor that says it is the processor's.

Sensors have no order: thermal zone 0 of a PC is often its mainboard.
"""

from __future__ import annotations

import re
from pathlib import Path

from paretopipe_runtime.environment import find, read

#: Types of thermal zones, first those of the processor itself.
ZONES = (r"x86_pkg_temp", r"cpu|core", r"soc|bcm2835")
#: Names of hwmon chips that are processors.
CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal")
LEAST_C, MOST_C = -40, 150  # beyond it a sensor is broken or absent


def celsius() -> float | None:
    """Return the hottest plausible reading of the processor, None if there is none."""
    zones = [
        (read(zone / "type") or "", _reading(read(zone / "temp")))
        for zone in find("sys/class/thermal/thermal_zone*")
    ]
    for wanted in ZONES:
        found = [c for kind, c in zones if c is not None and re.search(wanted, kind, re.IGNORECASE)]
        if found:
            return max(found)
    for chip in find("sys/class/hwmon/hwmon*"):
        if read(chip / "name") in CHIPS and (said := _inputs(chip)):
            return said.get("Tdie", max(said.values()))  # AMD's Tctl may be offset from it
    return None


def _inputs(chip: Path) -> dict[str, float]:
    """Return a chip's plausible readings by their labels."""
    found = {
        read(path.with_name(path.name.replace("_input", "_label"))) or path.name: _reading(
            read(path)
        )
        for path in sorted(chip.glob("temp*_input"))
    }
    return {label: c for label, c in found.items() if c is not None}


def _reading(millidegrees: str | None) -> float | None:
    try:
        found = int(millidegrees or "") / 1000
    except ValueError:
        return None
    return found if LEAST_C <= found <= MOST_C else None
