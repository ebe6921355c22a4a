#!/usr/bin/python
"""Gather a host's facts, without judgement or lasting changes.

Runs before installation: standard library of Python 3.8 only. Unknown facts are None, with the
reason where there is one.
"""

from __future__ import annotations

import ipaddress
import json
import os
import platform
import re
import shutil
import socket
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: look_at_host
short_description: Gather what decides whether a host is fit for a sweep
description: Looks, without judgement or lasting changes; unknown facts are null, with the reason.
author: ParetoPipe
options:
  address:
    description: Its address on the experiment network.
    type: str
    default: ""
  interface:
    description: The interface whose traffic is to be shaped.
    type: str
    default: ""
  peers:
    description: Experiment addresses of the other hosts.
    type: list
    elements: str
    default: []
  ssh_client:
    description: The address SSH came from.
    type: str
    default: ""
  python:
    description: The interpreter to install with.
    type: path
    required: true
  home:
    description: The folder of the virtual environment.
    type: path
    required: true
  state_dir:
    description: The folder of weights and records.
    type: path
    required: true
  netem:
    description: What the kernel will have to shape, and is to be tried.
    type: str
    choices: [none, egress, symmetric]
    default: none
  gpu:
    description: Whether it has an NVIDIA GPU is to be asked.
    type: bool
    default: false
  convolution:
    description: Whether to try torch once more.
    type: bool
    default: false
  noise:
    description: Seconds of the same work, to see what it scatters by; 0 for none.
    type: int
    default: 0
  burn_in:
    description: Seconds with all processors busy, to see what cooling and supply bear; 0 for none.
    type: int
    default: 0
"""
ARGUMENTS = {
    "address": {"type": "str", "default": ""},
    "interface": {"type": "str", "default": ""},
    "peers": {"type": "list", "elements": "str", "default": []},
    "ssh_client": {"type": "str", "default": ""},
    "python": {"type": "path", "required": True},
    "home": {"type": "path", "required": True},
    "state_dir": {"type": "path", "required": True},
    "netem": {"type": "str", "default": "none", "choices": ["none", "egress", "symmetric"]},
    "gpu": {"type": "bool", "default": False},
    "convolution": {"type": "bool", "default": False},
    "noise": {"type": "int", "default": 0},
    "burn_in": {"type": "int", "default": 0},
}
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

# Errors of tc and ip for a missing part of the kernel.
LACKING = (
    "qdisc kind is unknown|qdisc not found|classifier not found|nknown device type|"
    "Failed to load TC action|Operation not supported|No such file"
)

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


def controllers(root: str = "") -> list[str] | None:
    """Return what systemd can limit, None where that is not known."""
    path = Path(root + "/sys/fs/cgroup/cgroup.controllers")
    return (read(str(path)) or "").split() if path.exists() else None


def swap(root: str = "") -> list[str]:
    """Return the files and devices that memory is swapped to, packed memory (zram) included."""
    lines = (read("/proc/swaps", root) or "").splitlines()[1:]
    return [line.split()[0] for line in lines if line.strip()]


def gpus(wanted: bool) -> Facts:
    """Return name, driver and compute capability of each GPU, or what nvidia-smi said."""
    if not wanted:
        return {"gpus": [], "said": ""}
    asked = "--query-gpu=name,driver_version,compute_cap"
    status, said = run("nvidia-smi", asked, "--format=csv,noheader")
    rows = [[part.strip() for part in line.split(",")] for line in said.splitlines()]
    found = [row for row in rows if len(row) == 3] if status == 0 else []
    return {"gpus": found, "said": "" if found else " ".join(said.split()) or "it says nothing"}


def listed(*command: str) -> tuple[list[Facts], str]:
    """Return JSON output of `ip` or `tc`; on failure nothing, and what they said."""
    status, said = run(*command)
    words, line = " ".join(said.split())[:200], " ".join(command)
    if status:
        return [], f"`{line}` fails: {words or f'exit status {status}'}"
    try:
        return json.loads(said or "[]"), ""
    except ValueError as error:
        return [], f"`{line}` prints no JSON: {error}: {words}"


def is_ours(address: str) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind((address, 0))
        except OSError:
            return False
    return True


def identity() -> str | None:
    """Return what two names of one host have in common, and containers on one kernel have not."""
    boot = read("/proc/sys/kernel/random/boot_id")
    return f"{boot} {Path('/proc/self/ns/net').readlink()}" if boot else None


def way(peer: str) -> Facts:
    """Return how packets leave for a peer: interface and source address, or why they do not."""
    routes, said = listed("ip", "-j", "route", "get", peer)
    route = routes[0] if routes else {}
    return {"dev": route.get("dev"), "source": route.get("prefsrc"), "said": said}


def beside(address: str, links: list[Facts]) -> list[str]:
    """Return the running interfaces with an address in the network of `address`, but its own."""
    entries = [
        (link["ifname"], ipaddress.ip_interface(f"{entry['local']}/{entry['prefixlen']}"))
        for link in links
        for entry in link.get("addr_info", [])
        if "local" in entry and "UP" in link.get("flags", ["UP"])
    ]
    own = next(((name, each) for name, each in entries if str(each.ip) == address), None)
    if own is None:
        return []
    return sorted({name for name, each in entries if name != own[0] and each.ip in own[1].network})


def network(address: str, interface: str, ssh_client: str, peers: list[str]) -> Facts:
    links, unseen = listed("ip", "-j", "address", "show")
    shown, hidden = listed("tc", "-j", "qdisc", "show")
    addresses = {
        link["ifname"]: [entry["local"] for entry in link.get("addr_info", []) if "local" in entry]
        for link in links
    }
    carrying = [name for name, local in addresses.items() if address in local]
    if not carrying and address.startswith("127.") and is_ours(address):
        carrying, addresses = ["lo"], {"lo": [], **addresses}  # Linux owns all of 127.0.0.0/8
    return {
        "addresses": addresses,
        "unseen": unseen or hidden,
        "beside": beside(address, links),
        "ways": {peer: way(peer) for peer in peers},
        "experiment": next(iter(carrying), None) if address else None,
        "shaped": interface if interface in addresses else None,
        "ssh": way(ssh_client)["dev"] if ssh_client else None,
        "qdiscs": {
            entry["dev"]: {"kind": entry["kind"], "handle": entry.get("handle", "")}
            for entry in shown
            if entry.get("root")
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
    ways = network(asked["address"], asked["interface"], asked["ssh_client"], asked["peers"])
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
            "identity": identity(),
            "python": python(asked["python"]),
            **torch(asked["home"], asked["convolution"]),
            "memory": memory(),
            "home": disk(asked["home"]),
            "state": disk(asked["state_dir"]),
            "kept_bytes": sum(
                size_of(f"{asked['state_dir']}/{folder}") for folder in ("weights", "engines")
            ),
            "governors": governors(),
            "upgrades": upgrades(),
            "throttling": throttling(),
            "controllers": controllers(),
            "swap": swap(),
            "gpus": gpus(asked["gpu"]),
            **ways,
            "netem": tried,
            **{what: measured(asked["home"], what, asked[what]) for what in ("noise", "burn_in")},
        },
    )


if __name__ == "__main__":
    main()
