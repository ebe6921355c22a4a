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
HOT_C = 80  # a Raspberry Pi's soft limit
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
    if load.sizes:
        said = f"{said[:-1]}, estimated from its weights and tensors)"
    level: Level = "stop" if asked.named and not load.sizes else "note"
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


def limit(host: Host, _: Asked) -> Verdict | None:
    """Judge whether the agent's memory limit has an effect."""
    most, total = host.duty["memory_max"], host.facts["memory"]["total_bytes"]
    known = host.facts["controllers"]
    unlimited = not host.duty["worker"] or memory_limit(str(most), total) >= total
    if unlimited or known is None or "memory" in known:
        return None
    return note(
        f"its kernel limits no unit's memory (cgroup.controllers: {' '.join(known) or 'none'}), so "
        f"MemoryMax, worker_memory_max ({most}), does nothing and a large stage makes it swap: "
        f"append cgroup_enable=memory to {_command_line(host)}, and reboot it"
    )


def _command_line(host: Host) -> str:
    if _is_a_pi(host):
        return "the one line of /boot/firmware/cmdline.txt there"
    return "its kernel's command line"


def swap(host: Host, _: Asked) -> Verdict | None:
    """Judge whether memory may be swapped while a run is measured."""
    places = host.facts["swap"]
    if not places:
        return None
    return note(
        f"its memory may be swapped to {', '.join(places)}, and a run during which any is does not "
        "count: `sudo swapoff -a` turns it off until the next boot"
    )


def throttling(host: Host, _: Asked) -> Verdict:
    """Judge throttling of a Raspberry Pi: now, since boot, and whether runs are watched for it."""
    seen = host.facts["throttling"]
    bits, watched = seen["bits"], seen["watched"]
    if bits is None:
        if _is_a_pi(host):
            return note(f"it cannot be asked whether it is throttled, and {_UNWATCHED}")
        return ok("no throttle bits")
    # The kernel's sticky bits are of the last seconds.
    recent = bits >> STICKY_SHIFT if watched == "all" else 0
    if now := (bits | recent) & ALL_LIVE:
        live = bits & ALL_LIVE
        return stop(
            f"it {'is' if live else 'was'} {_held_back(now)} "
            f"{'now' if live else 'within the last seconds'} (get_throttled {bits:#x}), expected "
            f"0x0, and no run would count: {_cure(now)}"
        )
    since_boot = seen["since_boot"] or 0
    if earlier := since_boot >> STICKY_SHIFT & ALL_LIVE:
        again = "each run is watched, and one during which it happens again does not count"
        watching = _UNWATCHED if watched == "nothing" else again
        return note(
            f"it was {_held_back(earlier)} at some time since it booted (vcgencmd get_throttled "
            f"{since_boot:#x}), expected 0x0: {watching}; "
            f"{_cure(earlier)}, and reboot it"
        )
    if watched == "voltage":
        return note(
            "its kernel tells whether it is short of voltage (in0_lcrit_alarm) and not whether it "
            f"is hot: a run that heat slows down will count; {_cure(0)}, or the kernel of "
            "Raspberry Pi OS"
        )
    if watched == "nothing":
        return note(
            f"its kernel does not tell whether it is throttled, only vcgencmd does (get_throttled "
            f"{bits:#x}), which the agent's sandbox hides: {_UNWATCHED}"
        )
    return ok("not throttled")


def _is_a_pi(host: Host) -> bool:
    return "Raspberry Pi" in (host.facts["cpu"] or "")


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


def burn_in(host: Host, _: Asked) -> Verdict | None:
    """Judge cooling and supply by some time with all processors busy, if it was asked for."""
    seen = host.facts["burn_in"]
    if seen is None:
        return None
    if not seen:
        return note("its burn-in needs the runtime there: run playbooks/provision.yml first")
    before, after = ("?" if c is None else f"{c:.0f}" for c in (seen["before_c"], seen["after_c"]))
    said = (
        f"{before} °C before and {after} °C after {seen['seconds']:.0f} s with all processors busy"
    )
    if bits := int(seen["throttled_live"] or "0", 16):
        return stop(
            f"it was {_held_back(bits)} ({bits:#x}) in {seen['seconds']:.0f} s with all processors "
            f"busy ({before} °C before, {after} °C after), expected 0x0, and runs like that would "
            f"not count: {_cure(bits)}"
        )
    if (seen["after_c"] or 0) >= HOT_C:
        return note(f"{said}, expected less than {HOT_C}, where a Pi slows down: {_cure(0)}")
    return ok(said)


def _held_back(bits: int) -> str:
    return "short of voltage" if bits & UNDER_VOLTAGE else "held back by its temperature"


def _cure(bits: int) -> str:
    if bits & UNDER_VOLTAGE:
        return "use the official power supply (5.1 V, 3 A) and a short cable"
    return "give it a heat sink and a fan"
