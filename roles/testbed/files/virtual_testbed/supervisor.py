"""The testbed's root process: first in its process namespace, parent of every machine.

Whatever ends it, SIGKILL included, the kernel then ends everything below it and takes the
namespaces, mounts and cables along.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from . import cgroups, links, roots, wan
from .settings import WAN, Settings
from .shell import run, system_environment

READY_FOR_CONTROLLER = "cables laid"
GO = "go"
REBOOT = 133  # how systemd-nspawn asks to be started again


def supervise(settings: Settings, settings_json: str) -> None:
    """Build namespaces and machines, talk to `up` over stdin and stdout, then wait for ever."""
    # `up` notes who we are before it says go; should it be killed first, nothing has begun.
    if sys.stdin.readline().strip() != GO:
        return
    cgroups.enter(settings, cgroups.SUPERVISOR)
    # A fresh /run: named namespaces and nspawn's bookkeeping never touch the machine's own.
    run("mount", "-t", "tmpfs", "run", "/run")
    Path("/run/netns").mkdir()
    links.build(settings)
    print(READY_FOR_CONTROLLER, flush=True)
    if sys.stdin.readline().strip() != GO:
        return
    links.attach_controller()
    for name in settings.members:
        root = roots.mount(settings, name)
        if name == WAN and settings.wan == "uml":
            wan.prepare_root(settings, root)
    if settings.wan == "kernel":
        links.bridge_in_kernel(settings)
    machines = {name: _start(settings, name, settings_json) for name in settings.members}
    while True:
        try:
            pid, status = os.wait()  # also takes care of orphans, as a namespace's first must
        except ChildProcessError:
            return  # every machine has ended
        for name, process in machines.items():
            if process.pid != pid:
                continue
            if os.waitstatus_to_exitcode(status) == REBOOT:
                machines[name] = _start(settings, name, settings_json)
            else:
                end_mark(settings, name).touch()
            break


def end_mark(settings: Settings, name: str) -> Path:
    """Return the file whose existence says that a machine has ended for good."""
    return settings.folder / f"{name}.ended"


def _command(settings: Settings, name: str, settings_json: str) -> tuple[str, ...]:
    if name == WAN and settings.wan == "uml":
        return wan.uml_command(settings_json)
    return (
        *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe"),
        *(f"--machine={settings.name}-{name}", f"--directory={settings.folder}/{name}/root"),
        f"--network-namespace-path=/run/netns/{name}",
        *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
        # For tc and ip, and for the filters behind IPAddressDeny= and its like.
        *("--capability=CAP_NET_ADMIN,CAP_BPF", "--system-call-filter=bpf"),
        "--boot",
    )


def _start(settings: Settings, name: str, settings_json: str) -> subprocess.Popen[bytes]:
    extra = {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}  # sysctl net.*
    with (settings.folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            _command(settings, name, settings_json),
            env=system_environment(extra),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: cgroups.enter(settings, name),
        )
