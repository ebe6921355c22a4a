"""Facts about the host for judging and repeating its measurements."""

from __future__ import annotations

import importlib.metadata
import platform
import socket
import sys
from pathlib import Path
from typing import Any

import psutil

from paretopipe_runtime.version import version

BOOT_ID = "/proc/sys/kernel/random/boot_id"


def describe_host() -> dict[str, Any]:
    """Return hardware and software as JSON-ready values, None if unknown.

    `cpu_count` and `memory_bytes` are the machine's, also in a container; `deployment` is from
    machine-info(5), where the container's maker states its limits.
    """
    return {
        "hostname": socket.gethostname(),
        "machine": platform.machine(),
        "cpu_model": _cpu_model(),
        "cpu_count": psutil.cpu_count(),
        "cpu_affinity": len(psutil.Process().cpu_affinity() or []),
        "memory_bytes": psutil.virtual_memory().total,
        "deployment": _deployment(),
        "os": _os_name(),
        "kernel": platform.release(),
        "boot_id": boot_id(),
        "python": platform.python_version(),
        "torch": _loaded_version("torch"),
        "torchvision": _loaded_version("torchvision"),
        "onnxruntime": _installed_version("onnxruntime"),
        "executorch": _installed_version("executorch"),
        "runtime": version(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "congestion_control": _read("/proc/sys/net/ipv4/tcp_congestion_control"),
        "slow_start_after_idle": _read("/proc/sys/net/ipv4/tcp_slow_start_after_idle"),
        "libc": " ".join(platform.libc_ver()) or None,
    }


def boot_id() -> str | None:
    return _read(BOOT_ID)


def temperature_c() -> float | None:
    """Return the processor's temperature in °C."""
    text = _read("/sys/class/thermal/thermal_zone0/temp")
    return int(text) / 1000 if text else None


def _cpu_model() -> str | None:
    board = _read("/proc/device-tree/model")
    if board:
        return board.rstrip("\0")
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return None


def _deployment() -> str | None:
    for line in (_read("/etc/machine-info") or "").splitlines():
        if line.startswith("DEPLOYMENT="):
            return line.partition("=")[2].strip('"')
    return None


def _os_name() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _installed_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _loaded_version(module: str) -> str | None:
    """Return an imported module's version; never import it."""
    return getattr(sys.modules.get(module), "__version__", None)


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(errors="replace").strip() or None
    except OSError:
        return None
