"""Read a host's parts: processor, memory, disks, cooling, GPUs and what is installed.

Standard library of Python 3.8 only. Unknown facts are None; `root` stands for / in tests.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

SBIN = "/usr/sbin:/sbin:/usr/bin:/bin"
UPGRADERS = ("apt-daily.timer", "apt-daily-upgrade.timer")
PACKAGE_LOCKS = (
    *("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"),
    *("/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock"),
)
# As the agent looks: worker/usage/throttling.py says why.
GET_THROTTLED = "sys/devices/platform/*/*firmware/get_throttled"
HWMON = "sys/class/hwmon/hwmon*/name"
DRIVER = "rpi_volt"
ALARM = "in0_lcrit_alarm"
WHICH_PYTHON = "import struct, sys; print(*sys.version_info[:3], 8 * struct.calcsize('P'))"
WHICH_TORCH = "import importlib.metadata as m; print(m.version('torch'), m.version('torchvision'))"
CONVOLUTION = "import torch; torch.nn.Conv2d(3, 8, 3)(torch.zeros(1, 3, 32, 32)).sum().item()"

Facts = dict  # of JSON


def read(path: str, root: str = "") -> str | None:
    """Return a file's text; None if missing or empty."""
    try:
        return (
            Path(root + path).read_text(encoding="utf-8", errors="replace").strip("\0\n ") or None
        )
    except OSError:
        return None


def run(*command: str, timeout_s: float = 20.0) -> tuple[int, str]:
    """Return exit status (negative for a signal) and stdout or, on failure, stderr or stdout."""
    path = os.environ.get("PATH", "") + ":" + SBIN
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PATH": path, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            cwd="/",
        )
    except OSError as error:
        return 127, f"{command[0]}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return 124, f"{command[0]} took longer than {timeout_s:.0f} s"
    said = done.stdout if done.returncode == 0 else done.stderr or done.stdout
    return done.returncode, said.strip()


def processor(root: str = "") -> Facts:
    listed = dict(re.findall(r"(?m)^([\w ]+?)\s*:\s(.*)$", read("/proc/cpuinfo", root) or ""))
    name = read("/proc/device-tree/model", root) or listed.get("model name")
    features = listed.get("Features")
    return {
        "machine": platform.machine(),
        "cpu": name,
        "cpu_features": features.split() if features else None,
    }


def memory(root: str = "") -> Facts:
    """Return total memory, at most a container's limit, and available memory."""
    lines = re.findall(
        r"(?m)^(MemTotal|MemAvailable):\s+(\d+) kB", read("/proc/meminfo", root) or ""
    )
    known = {name: int(size) * 1024 for name, size in lines}
    limits = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
    said = [text for text in (read(path, root) for path in limits) if text and text.isdigit()]
    return {
        "total_bytes": min([known["MemTotal"], *map(int, said)]),
        "available_bytes": known["MemAvailable"],
    }


def swap(root: str = "") -> list[str]:
    """Return the files and devices that memory is swapped to, packed memory (zram) included."""
    lines = (read("/proc/swaps", root) or "").splitlines()[1:]
    return [line.split()[0] for line in lines if line.strip()]


def disk(path: str) -> Facts:
    """Return free space where `path` is or would be."""
    place = next(folder for folder in (Path(path), *Path(path).parents) if folder.exists())
    seen = os.statvfs(place)
    return {
        "path": path,
        "device": place.stat().st_dev,
        "free_bytes": seen.f_bavail * seen.f_frsize,
    }


def size_of(folder: str) -> int:
    return sum(path.lstat().st_size for path in Path(folder).rglob("*") if path.is_file())


def controllers(root: str = "") -> list[str] | None:
    """Return what systemd can limit, None where that is not known."""
    path = Path(root + "/sys/fs/cgroup/cgroup.controllers")
    return (read(str(path)) or "").split() if path.exists() else None


def governors(root: str = "") -> list[str]:
    """Return the distinct frequency governors."""
    paths = Path(root + "/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return sorted({text for text in (read(str(path)) for path in paths) if text})


def upgrades(root: str = "") -> Facts:
    """Return the active timers that upgrade packages, and who holds a package manager's lock.

    The lock is looked up, not tried: a try would be in the way of who wants it.
    """
    said = run("systemctl", "show", "--property=Id,ActiveState", *UPGRADERS)[1]
    units = [dict(re.findall(r"(?m)^(\w+)=(.*)$", block)) for block in said.split("\n\n")]
    held = re.findall(r"(?m) WRITE (\d+) \w+:\w+:(\d+) ", read("/proc/locks", root) or "")
    holders = {int(inode): pid for pid, inode in held}
    busy = ""
    for path in PACKAGE_LOCKS:
        try:
            pid = holders.get(Path(root + path).stat().st_ino)
        except OSError:
            continue
        if pid:
            name = read(f"/proc/{pid}/comm", root) or "a process"
            busy = f"{name}, process {pid}, holds {path}"
            break
    return {
        "timers": [unit["Id"] for unit in units if unit.get("ActiveState") == "active"],
        "busy": busy,
    }


def throttling(root: str = "") -> Facts:
    """Return a Raspberry Pi's throttle bits, and of what the agent can sample them.

    `bits` are the kernel's, with those that the firmware says are live; `since_boot` the firmware's
    own. The unit's sandbox hides the device that vcgencmd asks.
    """
    places = Path(root or "/")
    named = (name.parent for name in places.glob(HWMON) if read(str(name)) == DRIVER)
    driver, path = next(named, None), next(places.glob(GET_THROTTLED), None)
    watched, said = "nothing", None
    if driver and path:
        watched, said = "all", _bits(read(str(path)))
    elif driver and (driver / ALARM).exists():
        watched, said = "voltage", _bits(read(str(driver / ALARM)))
    asked = None
    if shutil.which("vcgencmd", path=os.environ.get("PATH", "") + ":" + SBIN):
        asked = _bits(run("vcgencmd", "get_throttled")[1])
    live = (asked or 0) & 0xF
    return {
        "bits": asked if said is None else said | live,
        "since_boot": asked,
        "watched": "nothing" if said is None else watched,
    }


def _bits(said: str | None) -> int | None:
    found = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", said or "")
    return int(found.group(1), 16) if found else None


def gpus(wanted: bool) -> Facts:
    """Return name, driver and compute capability of each GPU, or what nvidia-smi said."""
    if not wanted:
        return {"gpus": [], "said": ""}
    asked = "--query-gpu=name,driver_version,compute_cap"
    status, said = run("nvidia-smi", asked, "--format=csv,noheader")
    rows = [[part.strip() for part in line.split(",")] for line in said.splitlines()]
    found = [row for row in rows if len(row) == 3] if status == 0 else []
    return {"gpus": found, "said": "" if found else " ".join(said.split()) or "it says nothing"}


def python(path: str) -> Facts:
    status, said = run(path, "-c", WHICH_PYTHON)
    told = re.search(r"(?:^|\n)(\d+) (\d+) (\d+) (\d+)$", said) if status == 0 else None
    numbers = told.groups() if told else ()
    return {
        "path": path,
        "version": ".".join(numbers[:3]) or None,
        "bits": int(numbers[3]) if numbers else None,
        "said": "" if numbers else said,
    }


def torch(home: str, again: bool) -> Facts:
    """Return the virtual environment's versions and a convolution's result.

    Provisioning marks the release it tried; without a mark, or with `again`, it is tried here.
    """
    program = f"{home}/venv/bin/python"
    status, said = run(program, "-c", WHICH_TORCH)
    if status != 0 or len(said.split()) < 2:
        return {"torch": None, "torchvision": None, "convolution": None}
    release, torchvision = said.split()[-2:]
    found: Facts = {"torch": release, "torchvision": torchvision}
    marks = (f"{home}/venv/.tried-torch-{name}" for name in (release, release.split("+")[0]))
    if any(Path(mark).exists() for mark in marks) and not again:
        return {**found, "convolution": {"status": 0, "said": "", "now": False}}
    status, said = run(program, "-c", CONVOLUTION, timeout_s=180)
    last = said.splitlines()[-1] if status and said else ""
    return {**found, "convolution": {"status": status, "said": last, "now": True}}


def measured(home: str, what: str, seconds: int) -> Facts | None:
    """Return the host's own scatter (noise) or heat (burn_in) by the runtime; empty without one."""
    program = (f"{home}/venv/bin/python", "-IB", "-m", f"paretopipe_runtime.worker.{what}")
    if not seconds:
        return None
    status, said = run(*program, str(seconds), timeout_s=60 + 3 * seconds)
    return json.loads(said) if status == 0 else {}
