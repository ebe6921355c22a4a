"""Control groups, which limit hosts to the size of a Pi and list their processes.

Limits apply to groups around the containers, because a container's systemd accepts limits on
cgroup v1 without enforcing them. v2 may lack controllers: without cpuset a host is pinned by
affinity, without memory it reports having no limit.
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
# Short, so that a host with half a processor is evenly slower. Pauses of tens of milliseconds would
# look like network delay.
PERIOD_US = 10_000
V2_CONTROLLERS = ("cpu", "cpuset", "memory", "pids")
V1_CONTROLLERS = ("cpu", "cpuset", "memory")


def is_v2() -> bool:
    return (MOUNT / "cgroup.controllers").exists()


def check() -> None:
    """Raise TestbedError where this process cannot make control groups."""
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
    """Say whether memory is limited; Raspberry Pi OS needs `cgroup_enable=memory` at boot."""
    return not is_v2() or "memory" in _available()


def create(settings: Settings) -> None:
    for hierarchy in _hierarchies():
        top = hierarchy / settings.name
        top.mkdir(exist_ok=True)
        if is_v2():
            # v2 allows processes in leaves only.
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
    """Move this process to a machine's groups and processor."""
    for hierarchy in _hierarchies():
        group = hierarchy / settings.name / name
        if is_v2() and name != SUPERVISOR:
            # A new group per boot: v2 refuses processes in a group with controllers enabled, as an
            # earlier boot's systemd leaves it.
            group /= BOOT
            _remove(group)
            group.mkdir()
        _write(group / "cgroup.procs", "0")
    for host in settings.hosts:
        if host.name == name:
            os.sched_setaffinity(0, {_processor(host)})


def add(settings: Settings, name: str, pid: int) -> None:
    for hierarchy in _hierarchies():
        _write(hierarchy / settings.name / name / "cgroup.procs", str(pid))


def exist(settings: Settings) -> bool:
    return any((hierarchy / settings.name).exists() for hierarchy in _hierarchies())


def destroy(settings: Settings) -> None:
    """Kill the testbed's processes and remove its groups."""
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
    for folder, _, _ in os.walk(top, topdown=False):
        group = Path(folder)
        try:
            for pid in (group / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            group.rmdir()
        except OSError:
            continue  # still busy, or gone already: the caller retries


def _hierarchies() -> Iterator[Path]:
    """Yield mount points: one on v2, one per controller on v1."""
    if is_v2():
        yield MOUNT
        return
    for folder in sorted(MOUNT.iterdir()):
        # cpuacct is a link to cpu,cpuacct.
        if not folder.is_symlink() and (folder / "cgroup.procs").exists():
            yield folder


def _available() -> list[str]:
    return (MOUNT / "cgroup.controllers").read_text().split()


def _missing() -> list[str]:
    if not is_v2():
        return [name for name in V1_CONTROLLERS if not (MOUNT / name).is_dir()]
    # In a container's own root, a group with processes cannot enable more controllers.
    confined = (MOUNT / "cgroup.type").exists() and (MOUNT / "cgroup.procs").read_text().strip()
    passed_on = (MOUNT / "cgroup.subtree_control").read_text() if confined else ""
    there = passed_on.split() if confined else _available()
    return [] if "cpu" in there else ["cpu"]


def _inherit_cpuset(group: Path) -> None:
    """Copy a v1 group's cpuset from its parent; new groups have none."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not is_v2() and (group / name).exists():
            _write(group / name, (group.parent / name).read_text().strip())


def _processor(host: Host) -> int:
    available = sorted(os.sched_getaffinity(0))
    return available[min(host.cpu, len(available) - 1)]


def _limit(settings: Settings, host: Host) -> None:
    quota, memory = PERIOD_US * host.cpu_percent // 100, host.memory_mib * 2**20
    limits: dict[str, object] = {"cpuset.cpus": _processor(host)}
    if is_v2():
        limits |= {"cpu.max": f"{quota} {PERIOD_US}", "memory.max": memory}
    else:
        limits |= {"cpu.cfs_period_us": PERIOD_US, "cpu.cfs_quota_us": quota}
        limits |= {"memory.limit_in_bytes": memory}
    for name, value in limits.items():
        controller = name.split(".")[0]
        if not is_v2():
            _write(MOUNT / controller / settings.name / host.name / name, str(value))
        elif controller in _available():
            _write(MOUNT / settings.name / host.name / name, str(value))


def _write(path: Path, value: str) -> None:
    try:
        path.write_text(value)
    except OSError as error:
        raise TestbedError(f"cannot write '{value}' to {path}: {error.strerror}") from error
