"""Control groups: the limits that make a host as small as a Pi, and the list of its processes.

Limits sit on the groups around the containers, because a container's own systemd accepts limits on
cgroup v1 without enforcing them. Of v2's controllers a machine may lack some: without cpuset a
host is bound to its processor by affinity, and one without a memory limit says so of itself.
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .settings import Host, Settings
from .shell import TestbedError

MOUNT = Path("/sys/fs/cgroup")
SUPERVISOR, BOOT = "supervisor", "boot"
TIMEOUT_S = 60.0
# A short period: a host with half a processor is then evenly slower instead of stopping for tens
# of milliseconds, which would look like a network delay.
PERIOD_US = 10_000
V2_CONTROLLERS = ("cpu", "cpuset", "memory", "pids")
V1_CONTROLLERS = ("cpu", "cpuset", "memory")


def is_v2() -> bool:
    """Say whether the machine has only the unified hierarchy."""
    return (MOUNT / "cgroup.controllers").exists()


def check() -> None:
    """Raise TestbedError where this process cannot make the groups of a testbed."""
    try:
        missing = _missing()
        for hierarchy in _hierarchies():
            attempt = Path(tempfile.mkdtemp(prefix="pptb-try-", dir=hierarchy))
            attempt.rmdir()
    except OSError as error:
        raise TestbedError(
            f"control groups cannot be made below {MOUNT} ({error.strerror}), as in most "
            "containers: use a machine or a virtual machine"
        ) from error
    if missing:
        raise TestbedError(
            f"it limits its hosts by the control groups {', '.join(missing)}, which are not below "
            f"{MOUNT}: this kernel, or the container around this process, withholds them"
        )


def limits_memory() -> bool:
    """Say whether the hosts' memory is limited: Raspberry Pi OS's kernel, for one, has to be asked.

    (With `cgroup_enable=memory` on its command line.)
    """
    return not is_v2() or "memory" in _available()


def create(settings: Settings) -> None:
    """Make a group per host and set its limits."""
    for hierarchy in _hierarchies():
        top = hierarchy / settings.name
        top.mkdir(exist_ok=True)
        if is_v2():
            # Processes live in the leaves only, as v2 demands.
            wanted = " ".join(f"+{name}" for name in V2_CONTROLLERS if name in _available())
            for folder in (hierarchy, top):
                _write(folder / "cgroup.subtree_control", wanted)
        _inherit_cpuset(top)
        for name in (SUPERVISOR, *settings.members):
            (top / name).mkdir(exist_ok=True)
            _inherit_cpuset(top / name)
    for host in settings.hosts:
        _limit(settings, host)


def enter(settings: Settings, name: str) -> None:
    """Move the calling process into a machine's group, in every hierarchy, and to its processor."""
    for hierarchy in _hierarchies():
        group = hierarchy / settings.name / name
        if is_v2() and name != SUPERVISOR:
            # A group of its own for each boot: v2 lets no process into one that has passed
            # controllers on, and that is what an earlier boot's systemd has left.
            group /= BOOT
            _remove(group)
            group.mkdir()
        _write(group / "cgroup.procs", "0")
    for host in settings.hosts:
        if host.name == name:
            os.sched_setaffinity(0, {_processor(host)})


def add(settings: Settings, name: str, pid: int) -> None:
    """Move another process into a machine's group, in every hierarchy."""
    for hierarchy in _hierarchies():
        _write(hierarchy / settings.name / name / "cgroup.procs", str(pid))


def exist(settings: Settings) -> bool:
    """Say whether any group of this testbed is there."""
    return any((hierarchy / settings.name).exists() for hierarchy in _hierarchies())


def destroy(settings: Settings) -> None:
    """Kill whatever still runs in the testbed's groups, and remove the groups."""
    _remove(*(hierarchy / settings.name for hierarchy in _hierarchies()))


def _remove(*tops: Path) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while left := [top for top in tops if top.exists()]:
        for top in left:
            _clear(top)
        if time.monotonic() > deadline:
            raise TestbedError(f"the control groups {left[0]} cannot be emptied")
        time.sleep(0.01)


def _clear(top: Path) -> None:
    """Kill the processes of a tree of groups; remove every group that is empty already."""
    for folder, _, _ in os.walk(top, topdown=False):
        group = Path(folder)
        try:
            for pid in (group / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            group.rmdir()
        except OSError:
            continue  # busy until its processes are gone, or gone meanwhile: the caller looks again


def _hierarchies() -> Iterator[Path]:
    """Yield the mount point of every hierarchy: one on v2, one per controller on v1."""
    if is_v2():
        yield MOUNT
        return
    for folder in sorted(MOUNT.iterdir()):
        # Distributions link cpuacct to cpu,cpuacct: one hierarchy is enough.
        if not folder.is_symlink() and (folder / "cgroup.procs").exists():
            yield folder


def _available() -> list[str]:
    return (MOUNT / "cgroup.controllers").read_text().split()


def _missing() -> list[str]:
    """List the controllers without which a host would not be what it is said to be."""
    if not is_v2():
        return [name for name in V1_CONTROLLERS if not (MOUNT / name).is_dir()]
    # Below a root of its own, as in a container, a group that has processes may pass nothing on.
    confined = (MOUNT / "cgroup.type").exists() and (MOUNT / "cgroup.procs").read_text().strip()
    passed_on = (MOUNT / "cgroup.subtree_control").read_text() if confined else ""
    there = passed_on.split() if confined else _available()
    return [] if "cpu" in there else ["cpu"]


def _inherit_cpuset(group: Path) -> None:
    """Give a v1 group its parent's processors and memory: it is born without any."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not is_v2() and (group / name).exists():
            _write(group / name, (group.parent / name).read_text().strip())


def _processor(host: Host) -> int:
    """Return the host's processor; where there are fewer than asked for, hosts share the last."""
    available = sorted(os.sched_getaffinity(0))
    return available[min(host.cpu, len(available) - 1)]


def _limit(settings: Settings, host: Host) -> None:
    quota = str(PERIOD_US * host.cpu_percent // 100)
    processor, memory = str(_processor(host)), str(host.memory_mib * 2**20)
    if is_v2():
        limits = {"cpu.max": f"{quota} {PERIOD_US}"}
        limits |= {"cpuset.cpus": processor} if "cpuset" in _available() else {}
        limits |= {"memory.max": memory} if limits_memory() else {}
        for name, value in limits.items():
            _write(MOUNT / settings.name / host.name / name, value)
        return
    for name, value in (
        ("cpu.cfs_period_us", str(PERIOD_US)),
        ("cpu.cfs_quota_us", quota),
        ("cpuset.cpus", processor),
        ("memory.limit_in_bytes", memory),
    ):
        _write(MOUNT / name.split(".")[0] / settings.name / host.name / name, value)


def _write(path: Path, value: str) -> None:
    try:
        path.write_text(value)
    except OSError as error:
        raise TestbedError(f"cannot write '{value}' to {path}: {error.strerror}") from error
