"""Checks of memory, disk, frequency, power and scatter."""

from __future__ import annotations

import re

from .findings import Asked, Host, Level, Verdict, note, ok, stop
from .pytorch import CUDA_MIB, CUDA_WHEELS_MIB, installed, installs_cuda
from .sizes import INSTALL_MIB, MIB, disk_mib, largest

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_UNWATCHED = (
    "runs will not be watched for it, and one that it slows down will count; load the kernel's "
    "driver with `sudo modprobe raspberrypi-hwmon`, which the kernel of Raspberry Pi OS has"
)
UNDER_VOLTAGE, ALL_LIVE, STICKY_SHIFT = 0b0001, 0b1111, 16
#: Of the same work timed again, as a log standard deviation: more hides differences that matter.
MOST_SCATTER = 0.03


def memory(host: Host, asked: Asked) -> Verdict | None:
    """Compare the largest stage with the agent's limit and free memory."""
    total, free = (host.facts["memory"][key] for key in ("total_bytes", "available_bytes"))
    found = largest(asked.loads.get(host.name, ()))
    if found is None:
        return ok(f"{free // MIB} MiB of memory free")
    need, load = found
    said = f"{load.model} takes about {need} MiB in one stage (batches of {load.batch})"
    level: Level = "stop" if asked.named else "note"
    limit = memory_limit(str(host.duty["memory_max"]), total) if host.duty["worker"] else total
    if need * MIB > limit:
        return Verdict(
            level,
            f"{said}, and its agent may use {limit // MIB} ({host.duty['memory_max']} of "
            f"{total // MIB}): leave the model out, make the batches smaller with -e batch=…, or "
            "raise worker_memory_max",
        )
    if need * MIB > free:
        return Verdict(
            level,
            f"{said}, and {free // MIB} of {total // MIB} MiB are free: end what else runs there, "
            "such as a desktop",
        )
    return ok(f"{free // MIB} MiB of memory free, {need} for {load.model}")


def memory_limit(text: str, total: int) -> int:
    """Return a unit's ``MemoryMax=`` in bytes."""
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)%", text):
        return int(total * float(found[1]) / 100)
    if found := re.fullmatch(r"(\d+)([KMGT]?)", text):
        return min(total, int(found[1]) * _UNITS[found[2]])
    return total  # infinity


def disk(host: Host, asked: Asked) -> Verdict:
    """Compare free disk with weights, records, and a coming installation."""
    state, home = host.facts["state"], host.facts["home"]
    foreseen = disk_mib(asked.loads.get(host.name, ()), asked.cached_mib.get(host.name, 0))
    weights = max(0, foreseen - host.facts["kept_bytes"] // MIB)
    build = CUDA_WHEELS_MIB + CUDA_MIB if installs_cuda(host) else INSTALL_MIB
    install = 0 if installed(host) else build
    wanted = [(state, weights, "weights and records"), (home, install, "the virtual environment")]
    if state["device"] == home["device"]:
        and_more = ", and the virtual environment" if install else ""
        wanted = [(state, weights + install, f"weights and records{and_more}")]
    for seen, mib, what in wanted:
        if seen["free_bytes"] < mib * MIB:
            return stop(
                f"{seen['free_bytes'] // MIB} MiB are free for {seen['path']}, expected "
                f"{mib} for {what}: free some there, or put it on another disk"
            )
    return ok(f"{state['free_bytes'] / 2**30:.1f} GiB of disk free")


def governor(host: Host, _: Asked) -> Verdict:
    """Judge the frequency governor; provisioning may still set it."""
    seen, wanted = host.facts["governors"], host.duty["governor"]
    if not seen:
        return ok("frequency not scaled")
    if seen == [wanted or "performance"]:
        return ok(f"governor {seen[0]}")
    if wanted and not installed(host):
        return ok(f"governor {wanted} once provisioned")
    is_ = f"its frequency governor is {' and '.join(seen)}, expected"
    if wanted:
        return note(
            f"{is_} {wanted} as worker_governor says: run playbooks/provision.yml, or see what "
            "else sets it there"
        )
    return note(
        f"{is_} performance: runs scatter more, and the first batches are slow; set "
        "worker_governor: performance for it in the inventory"
    )


def throttling(host: Host, _: Asked) -> Verdict:
    """Judge throttling of a Raspberry Pi, now and since boot."""
    bits, sampled = host.facts["throttling"]["bits"], host.facts["throttling"]["sampled"]
    if bits is None:
        if "Raspberry Pi" in (host.facts["cpu"] or ""):
            return note(f"it cannot be asked whether it is throttled, and {_UNWATCHED}")
        return ok("no throttle bits")
    seen = f"get_throttled {bits:#x}"
    if bits & ALL_LIVE:
        return stop(
            f"it is {_held_back(bits)} now ({seen}), expected 0x0, and no run would count: "
            f"{_cure(bits)}"
        )
    if bits >> STICKY_SHIFT & ALL_LIVE:
        earlier = bits >> STICKY_SHIFT
        watched = (
            "each run is watched, and one during which it happens again does not count"
            if sampled
            else _UNWATCHED
        )
        return note(
            f"it was {_held_back(earlier)} at some time since it booted ({seen}), expected 0x0: "
            f"{watched}; {_cure(earlier)}, and reboot it"
        )
    if not sampled:
        return note(
            f"its kernel does not tell whether it is throttled, only vcgencmd does ({seen}), which "
            f"the agent's sandbox hides: {_UNWATCHED}"
        )
    return ok("not throttled")


def noise(host: Host, _: Asked) -> Verdict | None:
    """Judge the host's own scatter, if it was looked at."""
    seen = host.facts["noise"]
    return scattering(seen["scatter"]) if seen else None


def scattering(scatter: float) -> Verdict:
    said = f"{100 * scatter:.1f} %"
    if scatter <= MOST_SCATTER:
        return ok(f"scatters by {said}")
    return note(
        f"the same work, timed again and again, scattered by {said}, expected at most "
        f"{100 * MOST_SCATTER:.0f} %: let nothing else run on it, see its governor and its "
        "temperature; in a virtual machine it may be the host below"
    )


def _held_back(bits: int) -> str:
    return "short of voltage" if bits & UNDER_VOLTAGE else "held back by its temperature"


def _cure(bits: int) -> str:
    if bits & UNDER_VOLTAGE:
        return "use the official power supply (5.1 V, 3 A) and a short cable"
    return "give it a heat sink and a fan"
