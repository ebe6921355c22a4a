"""The planted faults, one or more for every check: made real where that can be, else as facts.

Each plants one thing in an otherwise good host and returns what is found. docs/preflight.md is
written from them (`python -m tests.preflight.table`), and the tests go through them one by one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roles.preflight.judging.findings import Asked, Finding, Host, Load
from roles.preflight.judging.judge import judge
from tests.preflight import real
from tests.preflight.good import ASKED, FACTS, GIB, MIB, host

#: Every worker is to load stages of engine xnnpack.
XNNPACK = replace(ASKED, loads={"pi1": (Load("alexnet", 8, 224, "xnnpack", "tuned"),)})
#: What ends a look, whatever language the host speaks.
TROUBLES = (
    (
        "a key that the host does not know",
        *("login", "pi@192.0.2.11: Permission denied (publickey)."),
    ),
    ("a host that is gone again", "login", "ssh: connect to host 192.0.2.11: No route to host"),
    ("sudo asks for a password", "look", "Missing sudo password"),
    ("sudo asks in German", "look", "sudo: Ein Passwort ist notwendig"),
    ("a user without sudo", "look", "pi is not in the sudoers file."),
    ("another sudo password", "look", "sudo: 1 incorrect password attempt"),
    ("no sudo on the host", "look", "/bin/sh: 1: sudo: not found"),
    ("no Python on the host", "look", "/bin/sh: 1: /usr/bin/python3: not found"),
    ("Python 3.6 on the host", "look", "SyntaxError: future feature annotations is not defined"),
    ("a full disk", "look", "mkdir: cannot create directory: No space left on device"),
    ("a Python that dies", "look", "Segmentation fault"),
)
Plant = Callable[[Path], list[Finding]]


@dataclass(frozen=True)
class Fault:
    """The check that must find it, what was planted, and how; `real` where it was made."""

    check: str
    planted: str
    plant: Plant
    real: bool = False


def found(*hosts: Host, asked: Asked = ASKED) -> list[Finding]:
    """Return what is found of hosts, but for what is well."""
    return [finding for finding in judge(hosts, asked) if finding.level != "ok"]


def said(**changes: Any) -> Plant:
    """Plant facts."""
    return lambda _: found(host(**changes))


def meant(duty: dict[str, Any], **changes: Any) -> Plant:
    """Plant facts, and other duties in the inventory."""
    return lambda _: found(host(duty=duty, **changes))


def seen(look: Callable[[Path], dict[str, Any]], **duty: Any) -> Plant:
    """Plant something real, and look at it with the module itself."""
    return lambda folder: found(host(duty=duty, **look(folder)))


def asking(sentence: Callable[[Path], str]) -> Plant:
    """Plant something real that check_hosts finds, before anything logs in."""
    return lambda folder: [Finding("reachable", "stop", "", sentence(folder))]


def _troubled(kind: str, words: str) -> Plant:
    return lambda _: found(Host("pi1", {}, host().duty, {"kind": kind, "said": words}))


def _asked(asked: Asked) -> Plant:
    return lambda _: found(host(), asked=asked)


def _with_server(asked: Asked = ASKED, **facts: Any) -> Plant:
    return lambda _: found(host(), host("server", **facts), asked=asked)


def faults() -> Iterator[Fault]:
    """Yield every fault."""
    yield from _reachability()
    yield from _software()
    yield from _hardware()
    yield from _network()


def _reachability() -> Iterator[Fault]:
    for planted, sentence in (
        ("nothing listens at the port", real.refused),
        ("packets are dropped", real.dropped),
        ("a name that is not in any DNS", real.unnamed),
        ("something else than SSH listens", real.silent),
    ):
        yield Fault("reachable", planted, asking(sentence), real=True)
    yield Fault("host key", "no key in known_hosts", asking(real.unknown_key), real=True)
    yield Fault("host key", "another key in known_hosts", asking(real.other_key), real=True)
    for planted, kind, words in TROUBLES:
        yield Fault("login", planted, _troubled(kind, words))
    yield Fault("login", "20 s until the shell is there", said(login_s=20.3))
    yield Fault("clock", "90 s slow", said(clock_offset_s=-90.2))
    yield Fault("clock", "forty days slow", said(clock_offset_s=-40 * 86400.0))


def _software() -> Iterator[Fault]:
    yield Fault("Python", "an interpreter that says it is 3.9.2", seen(real.old_python), real=True)
    yield Fault("Python", "no such file", seen(real.no_python), real=True)
    narrow = {**FACTS["python"], "bits": 32}
    yield Fault("Python", "a 32-bit system", said(python=narrow))
    bad = {"torch": "2.10.0", "torchvision": "0.25.0"}
    yield Fault(
        "convolution", "a torch 2.10.0 that dies of SIGILL", seen(real.sigill, **bad), real=True
    )
    yield Fault(
        "convolution",
        "2.10.0 in runtime_versions, nothing installed, a Cortex-A72",
        meant(bad, torch=None, torchvision=None, convolution=None),
    )
    yield Fault("convolution", "a torch that cannot be imported", seen(real.broken), real=True)
    yield Fault("torch release", "torchvision of another torch", meant({"torchvision": "0.28.0"}))
    new = {"torch": "2.13.0", "torchvision": "0.28.0"}
    none = {"torch": None, "torchvision": None, "convolution": None}
    yield Fault("torch release", "2.13.0 for a Pi from the ordinary index", meant(new, **none))
    yield Fault(
        "torch release",
        "2.13.0 for a server without a GPU, from the ordinary index",
        meant(new, machine="x86_64", **none),
    )
    yield from _gpus({**new, "device": "cuda"}, {"machine": "x86_64", **none})
    yield Fault("engine", "xnnpack on a Pi with torch 2.9.1", _asked(XNNPACK))
    old = {**FACTS["python"], "version": "3.14.1"}
    yield Fault(
        "engine",
        "xnnpack with Python 3.14",
        lambda _: found(host(duty=new, **new, python=old), asked=XNNPACK),
    )
    server = {**none, **new, "machine": "x86_64", "convolution": FACTS["convolution"]}
    yield Fault(
        "versions", "2.9.1 here, 2.13.0 there, backend socket", _with_server(duty=new, **server)
    )
    rpc = replace(ASKED, backends=("rpc",))
    yield Fault("versions", "the same with backend rpc", _with_server(rpc, duty=new, **server))


def _gpus(duty: dict[str, Any], facts: dict[str, Any]) -> Iterator[Fault]:
    def smi(script: str) -> Plant:
        return seen(lambda folder: {**facts, **real.gpus(folder, script)}, **duty)

    def listing(*row: str, torch: str = "2.13.0") -> Plant:
        there = {"gpus": {"gpus": [[*row]], "said": ""}}
        return meant({**duty, "torch": torch}, **facts, **there)

    yield Fault("GPU", "no nvidia-smi", smi(""), real=True)
    failed = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    yield Fault("GPU", "a driver that is not loaded", smi(f'echo "{failed}"; exit 9'), real=True)
    t4 = ("Tesla T4", "580.65.06", "7.5")
    second = meant({**duty, "device": "cuda:1"}, **facts, gpus={"gpus": [[*t4]], "said": ""})
    yield Fault("GPU", "cuda:1 with one GPU", second)
    yield Fault("GPU", "driver 535, torch for CUDA 13", listing("NVIDIA L4", "535.183.01", "8.9"))
    yield Fault("GPU", "a V100, torch for CUDA 13", listing("Tesla V100", "580.65.06", "7.0"))
    yield Fault(
        "GPU",
        "a GPU newer than the build",
        listing("NVIDIA GeForce RTX 5090", "580.65.06", "12.0", torch="2.13.0+cu126"),
    )
    small = {"path": "/opt/paretopipe", "device": 1, "free_bytes": 6 * GIB}
    there = {"gpus": {"gpus": [[*t4]], "said": ""}, "home": small, "state": small}
    yield Fault("disk", "6 GiB left for a CUDA build", meant(duty, **facts, **there))


def _hardware() -> Iterator[Fault]:
    small = {"total_bytes": 925 * MIB, "available_bytes": 700 * MIB}
    yield Fault("memory", "VGG16 on a Pi with 1 GB", said(memory=small))
    yield Fault("memory limit", "a Pi as it is delivered", seen(real.pi), real=True)
    zram = functools.partial(real.pi, limits=True, swap="/dev/zram0 partition 2097148 0 100")
    yield Fault("swap", "a Pi that packs memory", seen(zram), real=True)
    full = {"total_bytes": 3792 * MIB, "available_bytes": 800 * MIB}
    yield Fault("memory", "a desktop that takes 3 GB of 4", said(memory=full))
    yield Fault("disk", "a full file system for the state", seen(real.full_disk), real=True)
    kept = replace(ASKED, cached_mib={"pi1": 19_000})
    yield Fault("disk", "every split of VGG16 with onnxruntime", _asked(kept))
    home = {"path": "/opt/paretopipe", "device": 2, "free_bytes": GIB}
    yield Fault(
        "disk",
        "1 GiB left, nothing installed",
        said(home=home, torch=None, torchvision=None, convolution=None),
    )
    yield Fault("governor", "ondemand in /sys", seen(real.ondemand, governor=""), real=True)
    yield Fault("governor", "the same, and worker_governor set", seen(real.ondemand), real=True)
    yield Fault("upgrades", "apt's timers", seen(real.apt_timers), real=True)
    yield Fault("upgrades", "unattended-upgrades at work", seen(real.apt_at_work), real=True)
    fine = {"limits": True}
    for planted, shown in (
        ("in /sys: at the soft temperature limit now", {**fine, "bits": 0xE0008}),
        ("in /sys: short of voltage in the last seconds", {**fine, "bits": 0x50000}),
        ("no get_throttled in /sys, only the alarm", {**fine, "get_throttled": False}),
    ):
        yield Fault("throttling", planted, seen(functools.partial(real.pi, **shown)), real=True)
    for planted, bits in (
        ("vcgencmd: short of voltage now", "0x50005"),
        ("vcgencmd: short of voltage once since it booted", "0x50000"),
        ("nothing in /sys, only a vcgencmd", "0x0"),
    ):
        asked = functools.partial(real.vcgencmd_bits, bits=bits)
        yield Fault("throttling", planted, seen(asked), real=True)
    yield Fault("throttling", "a Pi that tells nothing", said(throttling=real.NOTHING))
    burnt = {"seconds": 60, "before_c": 51.6, "after_c": 84.2, "throttled_live": None}
    yield Fault("burn-in", "a Pi without a fan", said(burn_in={**burnt, "throttled_live": "0xa"}))
    yield Fault("burn-in", "one that nobody watches", said(burn_in=burnt))
    yield Fault("burn-in", "asked for before anything is installed", said(burn_in={}))
    yield Fault("noise", "the same work scatters by 3.1 %", said(noise={"scatter": 0.031}))


def _network() -> Iterator[Fault]:
    broken = "`tc -j qdisc show` prints no JSON: Expecting value: line 1 column 1 (char 0): oops"
    yield Fault("interface", "a tc that prints no JSON", said(unseen=broken))
    others = {"lo": ["127.0.0.1"], "eth0": ["192.0.2.30"]}
    yield Fault("interface", "another address", said(experiment=None, addresses=others))
    yield Fault(
        "interface", "an interface that is not there", meant({"interface": "eth1"}, shaped=None)
    )
    yield Fault(
        "interface",
        "the address on another interface",
        meant({"interface": "wlan0"}, shaped="wlan0"),
    )
    yield Fault("interface", "one port for SSH and tensors", said(ssh="eth0"))
    elsewhere = {"dev": "wlan0", "source": "198.51.100.11", "said": ""}
    nowhere = {"dev": None, "source": None, "said": "RTNETLINK answers: Network is unreachable"}
    for planted, way in (
        ("the way to a peer by Wi-Fi", elsewhere),
        ("no way to a peer", nowhere),
        ("a peer's address on this host", {**nowhere, "dev": "lo"}),
    ):
        yield Fault("route", planted, said(ways={"192.0.2.12": way}))
    yield Fault("route", "Ethernet and Wi-Fi in one network", seen(real.two_ways), real=True)
    yield Fault(
        "machine",
        "one machine as pi1 and as pi2",
        lambda _: found(
            host(identity="4f1c net:[4026531840]"), host("pi2", identity="4f1c net:[4026531840]")
        ),
    )
    duty = {"address": real.ADDRESS, "interface": "ppfb", "peers": {}}
    yield Fault("qdisc", "a token bucket", seen(real.foreign_qdisc, **duty), real=True)
    yield Fault(
        "qdisc",
        "a token bucket on a host that is not shaped",
        seen(real.foreign_qdisc, **duty, shaped=False),
        real=True,
    )
    ours = {"eth0": {"kind": "netem", "handle": "5a5a:"}}
    yield Fault("qdisc", "what an interrupted sweep left", said(qdiscs=ours))
    yield Fault("netem", "a tc that does not know netem", seen(real.without_netem), real=True)
    yield Fault("netem", "no cls_u32 for a later hop", seen(real.without_filters), real=True)
    yield Fault("netem", "an ip that does not know ifb", seen(real.without_ifb), real=True)
    unknown = {"works": None, "lacks": None, "said": "unshare failed: Operation not permitted"}
    yield Fault("netem", "a host that may not try", said(netem=unknown))
    yield Fault("congestion control", "bbr on one of two", _with_server(congestion_control="bbr"))
