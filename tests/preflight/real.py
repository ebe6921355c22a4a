"""Faults made real on this machine: on loopback, in a temporary folder, in a network namespace.

Each returns what the looking code sees of it, with what differs from run to run (ports, temporary
folders) put in the words of an ordinary host.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.util
import json
import logging
import os
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import paramiko

from tests import as_ansible
from tests.made.raspberry import PI5, Raspberry

ROOT = Path(__file__).resolve().parents[2]
LOOK = ROOT / "roles/preflight/library/look_at_host.py"
CHECK_HOSTS = ROOT / "roles/preflight/action_plugins/check_hosts.py"
ADDRESS = "10.99.0.1"  # in a namespace of its own
NOTHING = {"bits": None, "since_boot": None, "watched": "nothing"}
Facts = dict[str, Any]


@functools.cache
def load(path: Path) -> ModuleType:
    """Import a module by its path, not before a test needs it.

    Ansible, which they import, changes `sys.intern` in a way that PyTorch cannot be imported after.
    """
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def machine() -> ModuleType:
    """Return what looks at the machine."""
    return as_ansible.part("look_machine")


def network() -> ModuleType:
    """Return what looks at the network."""
    return as_ansible.part("look_network")


def ask(known_hosts: Path, port: int, timeout_s: float = 10.0, **changes: Any) -> str:
    """Return what check_hosts says of a port on loopback, as if it were a host's port 22."""
    arguments = f"-F none -o UserKnownHostsFile={known_hosts} -o StrictHostKeyChecking=yes"
    host = {"host": "127.0.0.1", "port": port, "ssh_common_args": arguments, **changes}
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    said = str(load(CHECK_HOSTS).ask("pi1", host, timeout_s))
    said = said.replace(f"'[127.0.0.1]:{port}'", "192.0.2.11")
    return said.replace(f"127.0.0.1:{port}", "192.0.2.11:22").replace("127.0.0.1", "192.0.2.11")


def refused(folder: Path) -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return ask(folder / "none", port)


def dropped(folder: Path) -> str:
    # A queue that is full lets the kernel drop what comes, as a host does that is not there.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address):
            return ask(folder / "none", address[1], 0.5)


def unnamed(folder: Path) -> str:
    return ask(folder / "none", 22, host="pi1.invalid")


def silent(folder: Path) -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return ask(folder / "none", listener.getsockname()[1], 0.5)


@contextlib.contextmanager
def ssh_server() -> Iterator[int]:
    """Serve SSH on loopback with a new key, to all that come; nobody is let in."""
    listener, key = socket.create_server(("127.0.0.1", 0)), paramiko.ECDSAKey.generate()

    def serve() -> None:
        with contextlib.suppress(OSError):  # once it is closed
            while True:
                transport = paramiko.Transport(listener.accept()[0])
                transport.add_server_key(key)
                # With an event it does not raise when the client hangs up, as ours does.
                transport.start_server(threading.Event(), paramiko.ServerInterface())

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def unknown_key(folder: Path) -> str:
    with ssh_server() as port:
        return ask(folder / "none", port)


def other_key(folder: Path) -> str:
    with ssh_server() as port:
        key = paramiko.ECDSAKey.generate()
        known = folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")
        return ask(known, port)


def program(path: Path, *lines: str) -> Path:
    """Write a shell script that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def old_python(folder: Path) -> Facts:
    seen = machine().python(str(program(folder / "python3", "echo 3 9 2 64")))
    return {"python": {**seen, "path": "/usr/bin/python3"}}


def no_python(_: Path) -> Facts:
    return {"python": machine().python("/usr/local/bin/python3.99")}


def torch_package(folder: Path, torch: str, torchvision: str, *lines: str) -> Facts:
    """Install a torch of these lines in a virtual environment of sorts, and try it."""
    packages = folder / "packages"
    for name, release in (("torch", torch), ("torchvision", torchvision)):
        information = packages / f"{name}-{release}.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text(f"Name: {name}\nVersion: {release}\n")
    (packages / "torch.py").write_text("\n".join([*lines, ""]))
    start = f'PYTHONPATH={shlex.quote(str(packages))} exec {shlex.quote(sys.executable)} "$@"'
    program(folder / "venv/bin/python", start)
    return dict(machine().torch(str(folder), False))


def sigill(folder: Path) -> Facts:
    dies = ["import os, signal", "class nn:", "    @staticmethod", "    def Conv2d(*sizes):"]
    dies += ["        os.kill(os.getpid(), signal.SIGILL)"]
    return torch_package(folder, "2.10.0", "0.25.0", *dies)


def broken(folder: Path) -> Facts:
    lacking = "libgomp.so.1: cannot open shared object file: No such file or directory"
    return torch_package(folder, "2.9.1", "0.24.1", f"raise ImportError({lacking!r})")


def gpus(folder: Path, script: str) -> Facts:
    """Look with a nvidia-smi that does what `script` says, or with none."""
    if script:
        program(folder / "nvidia-smi", script)
    with mock.patch.dict(os.environ, PATH=str(folder)):
        return {"gpus": machine().gpus(True)}


def full_disk(folder: Path) -> Facts:
    state = folder / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "ppf", str(state)], check=True)
    try:
        (state / "filler").write_bytes(bytes(2**20))
        seen = machine().disk(str(state / "paretopipe"))
    finally:
        subprocess.run(["umount", str(state)], check=True)
    return {"state": {**seen, "path": "/var/lib/paretopipe"}}


def file(folder: Path, path: str, text: str) -> None:
    """Put a file below a folder that stands for the root of a host's files."""
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)


def ondemand(folder: Path) -> Facts:
    for number, governor in enumerate(["ondemand", "ondemand", "performance"]):
        path = f"sys/devices/system/cpu/cpu{number}/cpufreq/scaling_governor"
        file(folder, path, f"{governor}\n")
    return {"governors": machine().governors(str(folder))}


def apt_timers(folder: Path) -> Facts:
    """Look with a systemctl that says of every timer that it is active."""
    blocks = "\\n\\n".join(f"Id={name}\\nActiveState=active" for name in machine().UPGRADERS)
    program(folder / "systemctl", f"printf '{blocks}\\n'")
    with mock.patch.dict(os.environ, {"PATH": f"{folder}:{os.environ['PATH']}"}):
        return {"upgrades": machine().upgrades(str(folder))}


def apt_at_work(folder: Path) -> Facts:
    """Look while a process holds dpkg's lock as apt does."""
    file(folder, "var/lib/dpkg/lock-frontend", "")
    with (folder / "var/lib/dpkg/lock-frontend").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        locks = Path("/proc/locks").read_text().replace(f" {os.getpid()} ", " 812 ")
        file(folder, "proc/locks", locks)
        file(folder, "proc/812/comm", "unattended-upgr\n")
        return {"upgrades": machine().upgrades(str(folder))}


def look_at(root: Path) -> Facts:
    """Return what is read of a host below this folder instead of below /."""
    parts = ("throttling", "controllers", "swap", "governors", "processor")
    seen = {part: getattr(machine(), part)(str(root)) for part in parts}
    return {**seen.pop("processor"), **seen}


def pi(folder: Path, bits: int = 0, **made: Any) -> Facts:
    """Look at a Raspberry Pi as its kernel shows it, whose firmware says these bits."""
    shown = Raspberry(folder, PI5, governor="performance", **made)
    shown.hold_back(bits >> 16)
    shown.hold_back(bits & 0xF)
    shown.poll()
    return look_at(folder)


def vcgencmd_bits(folder: Path, bits: str) -> Facts:
    program(folder / "vcgencmd", f"echo throttled={bits}")
    with mock.patch.dict(os.environ, {"PATH": f"{folder}:{os.environ['PATH']}"}):
        return {"throttling": machine().throttling(str(folder))}


def without_netem(folder: Path) -> Facts:
    program(folder / "tc", "echo 'Error: Specified qdisc kind is unknown.' >&2", "exit 2")
    with mock.patch.dict(os.environ, {"PATH": f"{folder}:{os.environ['PATH']}"}):
        return {"netem": network().netem(shared=False, symmetric=False)}


def without_filters(folder: Path) -> Facts:
    """Return what the whole module finds where a later hop is to be shaped."""
    words = "Error: TC classifier not found."
    program(folder / "tc", f'case "$*" in *filter*) echo "{words}" >&2; exit 2;; esac')
    before = f'export PATH={shlex.quote(str(folder))}:"$PATH"'
    return {"netem": in_a_namespace(folder, before, netem="egress", only_peers=True)["netem"]}


def without_ifb(folder: Path) -> Facts:
    program(folder / "tc", "exit 0")
    program(folder / "ip", "echo 'Error: Unknown device type.' >&2", "exit 2")
    with mock.patch.dict(os.environ, {"PATH": f"{folder}:{os.environ['PATH']}"}):
        return {"netem": network().netem(shared=True, symmetric=True)}


def in_a_namespace(folder: Path, *lines: str, **arguments: Any) -> Facts:
    """Return what is seen of the network in a namespace that ends with the look at it."""
    steps = [*lines, shlex.join(["exec", sys.executable, "-c", as_ansible.program(LOOK)])]
    given = {"python": sys.executable, "home": str(folder), "state_dir": str(folder), **arguments}
    done = subprocess.run(
        ["unshare", "--net", "sh", "-ec", "\n".join(steps)],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": given}),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return dict(json.loads(done.stdout)["facts"])


def foreign_qdisc(folder: Path) -> Facts:
    """Shape an interface."""
    shaped = (
        "ip link add ppfa type veth peer name ppfb",
        f"ip address add {ADDRESS}/24 dev ppfb",
        "ip link set ppfb up",
        "tc qdisc add dev ppfb root handle 1: tbf rate 1mbit burst 32kb latency 50ms",
    )
    facts = in_a_namespace(folder, *shaped, address=ADDRESS, interface="ppfb")
    return {key: facts[key] for key in ("addresses", "experiment", "shaped", "qdiscs")}


def two_ways(folder: Path) -> Facts:
    """Give two interfaces an address in one network, and a third that is down."""
    steps = [
        line.format(name=name, number=number)
        for number, name in enumerate(("eth0", "wlan0", "usb0"), 11)
        for line in (
            "ip link add {name} type veth peer name peer{number}",
            "ip address add 192.0.2.{number}/24 dev {name}",
            "ip link set {name} up",
        )
    ]
    facts = in_a_namespace(folder, *steps[:-1], address="192.0.2.11", peers=["192.0.2.12"])
    return {"beside": facts["beside"]}
