"""Facts about the host for judging and repeating its measurements."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import socket
import sys
from pathlib import Path
from typing import Any

import psutil

from paretopipe_runtime.version import version

#: What relative paths are below. Only tests put another host's files here.
ROOT = Path("/")
BOOT_ID = "proc/sys/kernel/random/boot_id"


def describe_host() -> dict[str, Any]:
    """Return hardware and software as JSON-ready values, None if unknown.

    `cpu_count` and `memory_bytes` are the machine's, also in a container; `deployment` is from
    machine-info(5), where the container's maker states its limits.
    """
    return {
        "hostname": socket.gethostname().encode(errors="replace").decode(),
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
        "governor": _governor(),
        "congestion_control": read("proc/sys/net/ipv4/tcp_congestion_control"),
        "slow_start_after_idle": read("proc/sys/net/ipv4/tcp_slow_start_after_idle"),
        "libc": " ".join(platform.libc_ver()) or None,
    }


def boot_id() -> str | None:
    return read(BOOT_ID)


def swapped_pages() -> dict[str, int]:
    """Return how many pages went to swap and back since the boot; empty if the kernel has none."""
    found = re.findall(r"(?m)^pswp(in|out) (\d+)$", read("proc/vmstat") or "")
    return {f"swapped_{way}_pages": int(count) for way, count in found}


def swapped_since(before: dict[str, int]) -> dict[str, int]:
    return {way: pages - before.get(way, pages) for way, pages in swapped_pages().items()}


def read(path: str | Path) -> str | None:
    """Return a file's text, None if missing, unreadable or empty; what is no UTF-8 is replaced."""
    try:
        return (ROOT / path).read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
    except OSError:
        return None


def find(pattern: str) -> list[Path]:
    return sorted(ROOT.glob(pattern))


def _cpu_model() -> str | None:
    board = read("proc/device-tree/model")
    return board or _assigned("proc/cpuinfo", r"model name\s*:")


def _deployment() -> str | None:
    return _assigned("etc/machine-info", "DEPLOYMENT=")


def _os_name() -> str | None:
    places = ("etc/os-release", "usr/lib/os-release")
    return next(filter(None, (_assigned(place, "PRETTY_NAME=") for place in places)), None)


def _governor() -> str | None:
    """Return the frequency governor, or all of them where processors differ."""
    paths = find("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    return " and ".join(sorted({text for text in map(read, paths) if text})) or None


def _assigned(path: str, pattern: str) -> str | None:
    """Return what the first line that begins so says after it, without quotes."""
    found = re.search(rf"(?m)^{pattern}[ \t]*(.+?)[ \t]*$", read(path) or "")
    return found[1].strip("\"'") or None if found else None


def _installed_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _loaded_version(module: str) -> str | None:
    """Return an imported module's version; never import it."""
    return getattr(sys.modules.get(module), "__version__", None)
