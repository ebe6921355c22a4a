#!/usr/bin/python
"""Gather a host's facts, without judgement or lasting changes.

Runs before installation: standard library of Python 3.8 only. Unknown facts are None, with the
reason where there is one.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import socket
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

ARGUMENTS = {
    # Its address on the experiment network, and the interface whose traffic is to be shaped.
    "address": {"type": "str", "default": ""},
    "interface": {"type": "str", "default": ""},
    # The address SSH came from.
    "ssh_client": {"type": "str", "default": ""},
    # The interpreter to install with.
    "python": {"type": "path", "required": True},
    # The folders of the virtual environment, and of weights and records.
    "home": {"type": "path", "required": True},
    "state_dir": {"type": "path", "required": True},
    # What the kernel will have to shape, and is to be tried.
    "netem": {"type": "str", "default": "none", "choices": ["none", "egress", "symmetric"]},
    # Whether it has an NVIDIA GPU is to be asked.
    "gpu": {"type": "bool", "default": False},
    # Whether to try torch once more.
    "convolution": {"type": "bool", "default": False},
    # Seconds of the same work, to see what it scatters by; 0 for none.
    "noise": {"type": "int", "default": 0},
}
SBIN = "/usr/sbin:/sbin:/usr/bin:/bin"
# As the agent looks: worker/usage/throttling.py says why.
GET_THROTTLED = "devices/platform/soc*/soc*:firmware/get_throttled"
THROTTLE_DRIVER = "rpi_volt"
WHICH_PYTHON = "import struct, sys; print(*sys.version_info[:3], 8 * struct.calcsize('P'))"
WHICH_TORCH = "import importlib.metadata as m; print(m.version('torch'), m.version('torchvision'))"
CONVOLUTION = "import torch; torch.nn.Conv2d(3, 8, 3)(torch.zeros(1, 3, 32, 32)).sum().item()"

# Errors of tc and ip for a missing part of the kernel.
LACKING = (
    "qdisc kind is unknown|qdisc not found|classifier not found|nknown device type|"
    "Failed to load TC action|Operation not supported|No such file"
)

Facts = dict  # of JSON


def read(path: str, root: str = "") -> str | None:
    """Return a file's text; None if missing or empty."""
    try:
        return Path(root + path).read_text(errors="replace").strip("\0\n ") or None
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
            text=True,
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


def python(path: str) -> Facts:
    status, said = run(path, "-c", WHICH_PYTHON)
    numbers = said.split() if status == 0 else []
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
    if status != 0:
        return {"torch": None, "torchvision": None, "convolution": None}
    release, torchvision = said.split()
    found: Facts = {"torch": release, "torchvision": torchvision}
    marks = (f"{home}/venv/.tried-torch-{name}" for name in (release, release.split("+")[0]))
    if any(Path(mark).exists() for mark in marks) and not again:
        return {**found, "convolution": {"status": 0, "said": "", "now": False}}
    status, said = run(program, "-c", CONVOLUTION, timeout_s=180)
    last = said.splitlines()[-1] if status and said else ""
    return {**found, "convolution": {"status": status, "said": last, "now": True}}


def noise(home: str, seconds: int) -> Facts | None:
    """Return the host's own scatter as the installed runtime measures it; None without one."""
    program = (f"{home}/venv/bin/python", "-IB", "-m", "paretopipe_runtime.worker.noise")
    if not seconds:
        return None
    status, said = run(*program, str(seconds), timeout_s=60 + 3 * seconds)
    return json.loads(said) if status == 0 else None


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


def governors(root: str = "") -> list[str]:
    """Return the distinct frequency governors."""
    paths = Path(root + "/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return sorted({text for text in (read(str(path)) for path in paths) if text})


def throttling(root: str = "") -> Facts:
    """Return a Raspberry Pi's throttle bits, and whether the agent can sample them.

    The kernel's file is public, and old without the driver that renews it; the unit's sandbox hides
    the device that vcgencmd needs.
    """
    places = Path(root + "/sys")
    path = next(places.glob(GET_THROTTLED), None)
    drivers = [read(str(name)) for name in places.glob("class/hwmon/hwmon*/name")]
    sampled = path is not None and THROTTLE_DRIVER in drivers
    said = read(str(path)) if sampled else None
    if not sampled and shutil.which("vcgencmd", path=os.environ.get("PATH", "") + ":" + SBIN):
        said = run("vcgencmd", "get_throttled")[1]
    found = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", said or "")
    return {"bits": int(found.group(1), 16) if found else None, "sampled": bool(found) and sampled}


def gpus(wanted: bool) -> Facts:
    """Return name, driver and compute capability of each GPU, or what nvidia-smi said."""
    if not wanted:
        return {"gpus": [], "said": ""}
    asked = "--query-gpu=name,driver_version,compute_cap"
    status, said = run("nvidia-smi", asked, "--format=csv,noheader")
    rows = [[part.strip() for part in line.split(",")] for line in said.splitlines()]
    found = [row for row in rows if len(row) == 3] if status == 0 else []
    return {"gpus": found, "said": "" if found else " ".join(said.split()) or "it says nothing"}


def listed(*command: str) -> list[Facts]:
    """Return JSON output of `ip` or `tc`; empty on failure."""
    status, said = run(*command)
    return json.loads(said or "[]") if status == 0 else []


def is_ours(address: str) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind((address, 0))
        except OSError:
            return False
    return True


def network(address: str, interface: str, ssh_client: str) -> Facts:
    addresses = {
        link["ifname"]: [entry["local"] for entry in link.get("addr_info", []) if "local" in entry]
        for link in listed("ip", "-j", "address", "show")
    }
    route = listed("ip", "-j", "route", "get", ssh_client) if ssh_client else []
    roots = [entry for entry in listed("tc", "-j", "qdisc", "show") if entry.get("root")]
    carrying = [name for name, local in addresses.items() if address in local]
    if not carrying and address.startswith("127.") and is_ours(address):
        carrying, addresses = ["lo"], {"lo": [], **addresses}  # Linux owns all of 127.0.0.0/8
    return {
        "addresses": addresses,
        "experiment": next(iter(carrying), None) if address else None,
        "shaped": interface if interface in addresses else None,
        "ssh": route[0].get("dev") if route else None,
        "qdiscs": {
            entry["dev"]: {"kind": entry["kind"], "handle": entry.get("handle", "")}
            for entry in roots
        },
        "congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control"),
    }


def netem(shared: bool, symmetric: bool) -> Facts:
    """Build the netem role's qdiscs in a temporary network namespace.

    A list of modules would mislead: they may be built in, or not loadable. Sharing with SSH takes
    classes and filters.
    """
    add = "tc qdisc add dev lo"
    match = "protocol ip pref 1 u32 match u32 0 0 at 0"
    redirect = "action mirred egress redirect dev ppifb0"
    steps = [("sch_netem", f"{add} root netem delay 1ms")]
    if shared:
        steps = [
            # Its default priomap names a third band, which the kernel refuses.
            ("sch_prio", f"{add} root handle 1: prio bands 2 priomap {'0 ' * 16}"),
            ("sch_netem", f"{add} parent 1:2 netem delay 1ms"),
            ("cls_u32", f"tc filter add dev lo parent 1: {match} flowid 1:2"),
        ]
    if symmetric:
        steps += [
            ("ifb", "ip link add ppifb0 type ifb"),
            ("sch_ingress", f"{add} handle ffff: ingress"),
            ("cls_u32", f"tc filter add dev lo parent ffff: {match} flowid 1:1"),
            ("act_mirred", f"tc filter add dev lo parent ffff: {match} {redirect}"),
        ]
    script = "\n".join(f"{step} || exit {number}" for number, (_, step) in enumerate(steps, 100))
    status, said = run("unshare", "--net", "sh", "-c", script)
    failed = status - 100 in range(len(steps)) and re.search(LACKING, said)
    return {
        "works": True if status == 0 else False if failed else None,
        "lacks": steps[status - 100][0] if failed else None,
        "said": " ".join(said.split()),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    asked = module.params
    ways = network(asked["address"], asked["interface"], asked["ssh_client"])
    tried: Facts | None = None
    if asked["netem"] != "none" and module.check_mode:
        tried = {"works": None, "lacks": None, "said": "not tried in check mode"}
    elif asked["netem"] != "none":
        shared = ways["ssh"] is not None and ways["ssh"] == ways["shaped"]
        tried = netem(shared, asked["netem"] == "symmetric")
    module.exit_json(
        changed=False,
        facts={
            **processor(),
            "kernel": platform.release(),
            "python": python(asked["python"]),
            **torch(asked["home"], asked["convolution"]),
            "memory": memory(),
            "home": disk(asked["home"]),
            "state": disk(asked["state_dir"]),
            "kept_bytes": sum(
                size_of(f"{asked['state_dir']}/{folder}") for folder in ("weights", "engines")
            ),
            "governors": governors(),
            "throttling": throttling(),
            "gpus": gpus(asked["gpu"]),
            **ways,
            "netem": tried,
            "noise": noise(asked["home"], asked["noise"]),
        },
    )


if __name__ == "__main__":
    main()
