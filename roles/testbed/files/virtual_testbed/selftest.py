"""Self-test from the inside, at the end of every start."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from .settings import WAN, Settings
from .shell import TestbedError, run

NAMESPACES = ("pid", "ipc", "net", "uts", "mnt")
MAX_RTT_MS, MIN_RATE_MBIT = 5.0, 100.0
PORT = 5999
MARK = "paretopipe-self-test"
# Ways by which a transport could bypass the network.
SHARE = f"""
import socket, time
from multiprocessing import shared_memory
memory = shared_memory.SharedMemory("{MARK}", create=True, size=64)
channel = socket.socket(socket.AF_UNIX); channel.bind("\\0{MARK}"); channel.listen()
open("/tmp/{MARK}", "w").close(); time.sleep(60)
"""
LOOK = f"""
import glob, os, socket
seen = [name for name in ("/dev/shm/{MARK}", "/tmp/{MARK}") if os.path.exists(name)]
try: socket.socket(socket.AF_UNIX).connect("\\0{MARK}"); seen.append("abstract socket")
except ConnectionRefusedError: pass
lines = [open(name, "rb").read() for name in glob.glob("/proc/[0-9]*/cmdline")]
if any(b"time." + b"sleep(60)" in line for line in lines): seen.append("process")
print(len(seen))
"""
SHARED_THINGS = 4  # found by LOOK where SHARE runs, and nowhere else


def verify(settings: Settings) -> list[str]:
    """Test the testbed and describe it in sentences, or raise TestbedError."""
    if not settings.state_file.exists():
        raise TestbedError(f"testbed {settings.id} is not up: run playbooks/testbed.yml first")
    return [_answers(settings), _apart(settings), *_link(settings)]


def _ssh(settings: Settings, name: str, command: str) -> str:
    """Run a command on a machine, its host key checked."""
    options = (
        f'UserKnownHostsFile="{settings.folder}/known_hosts"',
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "IdentitiesOnly=yes",
        "BatchMode=yes",
        "ConnectTimeout=30",
    )
    flags = (part for option in options for part in ("-o", option))
    target = f"root@{settings.management_address(name)}"
    ssh = ("ssh", "-F", "/dev/null", "-i", f"{settings.folder}/id", *flags, target, command)
    return run(*ssh, timeout_s=120).stdout.strip()


def _wait_for(condition: str) -> str:
    return f"for i in $(seq 300); do {condition} && break; sleep 0.1; done"


def _python(program: str) -> str:
    return f"/usr/bin/python3 -c {shlex.quote(program)}"


def _everywhere(settings: Settings, names: Sequence[str], command: str) -> dict[str, str]:
    with ThreadPoolExecutor(len(names)) as pool:
        said = pool.map(lambda name: _ssh(settings, name, command), names)
        return dict(zip(names, said, strict=True))


def _answers(settings: Settings) -> str:
    for expected, seen in _everywhere(settings, settings.members, "hostname").items():
        if seen != expected:
            address = settings.management_address(expected)
            raise TestbedError(f"{address} should be {expected} and calls itself '{seen}'")
    return f"{', '.join(settings.members)} answer over SSH with the host keys made for them."


def _apart(settings: Settings) -> str:
    """Verify that hosts are connected by the network only."""
    hosts = tuple(host.name for host in settings.hosts)
    names = " ".join(f"/proc/self/ns/{kind}" for kind in NAMESPACES)
    identities = [
        identity
        for said in _everywhere(settings, hosts, f"readlink {names}").values()
        for identity in said.split()
    ]
    if len(set(identities)) != len(hosts) * len(NAMESPACES):
        shared = {identity for identity in identities if identities.count(identity) > 1}
        raise TestbedError(f"hosts share the namespaces {', '.join(sorted(shared))}")
    share = f"systemd-run --quiet --collect --unit={MARK} {_python(SHARE)}"
    _ssh(settings, "pi1", f"{share}; {_wait_for(f'[ -e /tmp/{MARK} ]')}")
    try:
        said = _everywhere(settings, hosts, _python(LOOK))
    finally:
        _ssh(settings, "pi1", f"systemctl stop {MARK}; rm -f /tmp/{MARK} /dev/shm/{MARK}")
    seen = {name: int(count) for name, count in said.items()}
    if seen.pop("pi1") != SHARED_THINGS:
        raise TestbedError("the self test cannot see its own probe on pi1")
    if any(seen.values()):
        raise TestbedError(f"pi1's shared memory, sockets or processes show elsewhere: {seen}")
    return "Shared memory, sockets and processes of pi1 are invisible on pi2 and server."


def _link(settings: Settings) -> list[str]:
    """Measure the link; judge it only if it is not shaped."""
    disciplines = json.loads(_ssh(settings, WAN, "tc -j qdisc show"))
    shaped = any(entry["kind"] in {"netem", "tbf", "htb"} for entry in disciplines)
    sentences = []
    for name in (host.name for host in settings.hosts if host.name != "pi1"):
        address = settings.experiment_address(name)
        rtt, rate = _rtt_ms(settings, address), _rate_mbit(settings, name, address)
        sentence = f"pi1 to {name}: {rtt:.2f} ms round trip, {rate:.0f} Mbit/s."
        if shaped:
            sentence += " (The link is being shaped at the moment, so this is not judged.)"
        elif rtt > MAX_RTT_MS or rate < MIN_RATE_MBIT:
            raise TestbedError(
                f"{sentence} Expected at most {MAX_RTT_MS} ms and at least {MIN_RATE_MBIT:.0f} "
                "Mbit/s: is the machine busy?"
            )
        sentences.append(sentence)
    return sentences


def _rtt_ms(settings: Settings, address: str) -> float:
    said = _ssh(settings, "pi1", f"ping -q -c 10 -i 0.05 -W 2 {address}")
    found = re.search(r"= ([\d.]+)/", said)  # the minimum, which excludes scheduling
    if found is None:
        raise TestbedError(f"pi1 cannot ping {address}: {said.splitlines()[-1]}")
    return float(found[1])


def _rate_mbit(settings: Settings, name: str, address: str) -> float:
    listen = f"iperf3 --server --one-off --bind {address} --port {PORT}"
    unit = f"systemd-run --quiet --collect --unit={MARK}-rate --property=RuntimeMaxSec=120 {listen}"
    wait = _wait_for(f"ss -Hltn | grep -q :{PORT}")
    _ssh(settings, name, f"systemctl stop {MARK}-rate 2>/dev/null; {unit}; {wait}")
    client = f"iperf3 --client {address} --port {PORT} --time 1 --connect-timeout 20000 --json"
    report = json.loads(_ssh(settings, "pi1", client))
    return float(report["end"]["sum_received"]["bits_per_second"]) / 1e6
