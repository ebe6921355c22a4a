"""What is read of a host: the processor's own temperature, plausible, and text that is no UTF-8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paretopipe_runtime import environment
from paretopipe_runtime.worker import burn_in
from paretopipe_runtime.worker.usage import temperature
from tests.made.raspberry import LIVE_HEAT, PI5, Raspberry


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    return tmp_path


def sensors(root: Path, zones: dict[str, str | bytes], **chips: dict[str, str]) -> None:
    """Write thermal zones, a reading by type, and hwmon chips, a reading by label."""
    for number, (kind, said) in enumerate(zones.items()):
        folder = root / f"sys/class/thermal/thermal_zone{number}"
        folder.mkdir(parents=True)
        (folder / "type").write_bytes(kind.encode("latin-1"))
        (folder / "temp").write_bytes(said if isinstance(said, bytes) else said.encode())
    for number, (chip, inputs) in enumerate(chips.items()):
        folder = root / f"sys/class/hwmon/hwmon{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{chip}\n")
        for index, (label, said) in enumerate(inputs.items(), 1):
            (folder / f"temp{index}_label").write_text(label)
            (folder / f"temp{index}_input").write_text(said)


@pytest.mark.parametrize(
    ("zones", "chips", "celsius"),
    [
        ({"acpitz": "27800", "x86_pkg_temp": "71000"}, {}, 71.0),
        ({"cpu-thermal": "52582"}, {"rpi_volt": {}}, 52.582),
        ({"iwlwifi_1": "40000", "soc-thermal": "48100", "gpu-thermal": "61000"}, {}, 48.1),
        ({"gpu-thermal": "61000", "bigcore0-thermal": "55000", "soc-thermal": "9"}, {}, 55.0),
        ({"cpu0-thermal": "41000", "cpu1-thermal": "44000"}, {}, 44.0),
        ({"acpitz": "27800"}, {}, None),
        ({"acpitz": "27800"}, {"nvme": {"Composite": "30850"}}, None),
        ({"acpitz": "27800"}, {"coretemp": {"Package id 0": "66000", "Core 0": "64000"}}, 66.0),
        ({}, {"nvme": {"x": "30850"}, "k10temp": {"Tctl": "77000", "Tdie": "50000"}}, 50.0),
        ({"cpu-thermal": "-268800"}, {}, None),
        ({"cpu-thermal": "-268800", "soc-thermal": "39000"}, {}, 39.0),
        ({"x86_pkg_temp": "65535000"}, {"coretemp": {"Package id 0": "45000"}}, 45.0),
        ({"cpu-thermal": "N/A"}, {}, None),
        ({"cpu-thermal": b"\xb0C 41"}, {}, None),
        ({"Geh\xe4use": "30000", "cpu-thermal": "41000"}, {}, 41.0),
        ({}, {"k10temp": {"Tctl": "-273150"}}, None),
        ({}, {}, None),
    ],
)
def test_the_temperature_is_the_processor_s(
    here: Path, zones: dict[str, str | bytes], chips: dict[str, Any], celsius: float | None
) -> None:
    sensors(here, zones, **chips)
    assert temperature.celsius() == celsius


def test_a_pi_is_described_as_its_kernel_shows_it(here: Path) -> None:
    pi = Raspberry(here, PI5)
    pi.write("etc/machine-info", "LOCATION=B\xfcro\nDEPLOYMENT='M\xfcnchen'".encode("latin-1"))
    pi.write("etc/os-release", 'PRETTY_NAME="D\xe9bian 13"'.encode("latin-1"))
    pi.write("sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "powersave")
    told = environment.describe_host()
    assert told["cpu_model"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert told["deployment"] == "M\ufffdnchen"
    assert told["os"] == "D\ufffdbian 13"
    assert told["governor"] == "ondemand and powersave"
    assert told["boot_id"] == (here / environment.BOOT_ID).read_text().strip()
    pi.swapped(10)
    assert environment.swapped_pages() == {"swapped_in_pages": 5, "swapped_out_pages": 10}


def test_a_burn_in_tells_what_the_host_bore(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    pi = Raspberry(here)
    pi.hold_back(LIVE_HEAT)
    pi.poll()
    # OpenMP's threads in the tests' own process would hang a test that forks from it.
    monkeypatch.setattr(burn_in.torch, "set_num_threads", lambda _: None)
    told = burn_in.measure(0.01)
    assert (told["before_c"], told["after_c"], told["throttled_live"]) == (52.582, 52.582, "0x8")
