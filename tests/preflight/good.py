"""A host with which nothing is wrong, and what is asked of it: the ground for planted faults."""

from __future__ import annotations

from typing import Any

from roles.preflight.judging.findings import Asked, Host, Load

MIB, GIB = 2**20, 2**30
FACTS: dict[str, Any] = {
    "login_s": 0.4,
    "clock_offset_s": 0.02,
    "clock_slack_s": 0.04,
    "machine": "aarch64",
    "cpu": "Raspberry Pi 4 Model B Rev 1.4",
    "cpu_features": ["fp", "asimd", "evtstrm", "crc32", "cpuid"],
    "kernel": "6.12.47+rpt-rpi-v8",
    "python": {"path": "/usr/bin/python3", "version": "3.11.2", "bits": 64, "said": ""},
    "torch": "2.9.1",
    "torchvision": "0.24.1",
    "convolution": {"status": 0, "said": "", "now": True},
    "memory": {"total_bytes": 3792 * MIB, "available_bytes": 3400 * MIB},
    "home": {"path": "/opt/paretopipe", "device": 1, "free_bytes": 16 * GIB},
    "state": {"path": "/var/lib/paretopipe", "device": 1, "free_bytes": 16 * GIB},
    "kept_bytes": 0,
    "governors": ["performance"],
    "upgrades": {"timers": [], "busy": ""},
    "throttling": {"bits": 0, "since_boot": 0, "watched": "all"},
    "controllers": ["cpuset", "cpu", "io", "memory", "pids"],
    "swap": [],
    "gpus": {"gpus": [], "said": ""},
    "addresses": {"lo": ["127.0.0.1"], "eth0": ["192.0.2.11"], "wlan0": ["198.51.100.11"]},
    "unseen": "",
    "beside": [],
    "ways": {"192.0.2.12": {"dev": "eth0", "source": "192.0.2.11", "said": ""}},
    "identity": None,
    "experiment": "eth0",
    "shaped": "eth0",
    "ssh": "wlan0",
    "qdiscs": {"eth0": {"kind": "mq", "handle": "0:"}},
    "congestion_control": "cubic",
    "netem": {"works": True, "lacks": None, "said": ""},
    "noise": None,
    "burn_in": None,
}
DUTY: dict[str, Any] = {
    "runtime": True,
    "worker": True,
    "shaped": True,
    "address": "192.0.2.11",
    "interface": "eth0",
    "peers": {"other": "192.0.2.12"},
    "emulated": False,
    "memory_max": "85%",
    "governor": "performance",
    "device": "cpu",
    "torch": "2.9.1",
    "torchvision": "0.24.1",
    "executorch": "",
    "plain_index": True,
}
LOADS = (Load("vgg16", 8, 224, "eager", "tuned"),)
ASKED = Asked({"pi1": LOADS, "pi2": LOADS}, {}, ("socket",), shaped=True)


def host(name: str = "pi1", /, duty: dict[str, Any] | None = None, **facts: Any) -> Host:
    """Return the good host with some of its facts and duties replaced."""
    return Host(name, {**FACTS, **facts}, {**DUTY, **(duty or {})})
