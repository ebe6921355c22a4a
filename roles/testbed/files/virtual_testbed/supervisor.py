"""The testbed's root process: first in its pid namespace, parent of every machine.

When it ends, even by SIGKILL, the kernel ends everything below it.
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
REBOOT = 133  # systemd-nspawn's exit status to be restarted


def supervise(settings: Settings, settings_json: str) -> None:
    """Build namespaces and machines, in step with `up` over stdin and stdout, then wait."""
    # `up` records this pid before it sends GO; if it is killed first, nothing has begun.
    if sys.stdin.readline().strip() != GO:
        return
    cgroups.enter(settings, cgroups.SUPERVISOR)
    # A fresh /run keeps named namespaces and nspawn's state off the machine's.
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
            pid, status = os.wait()  # also reaps orphans, as pid 1 must
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
    """Return the file that marks a machine as ended for good."""
    return settings.folder / f"{name}.ended"


def _command(settings: Settings, name: str, settings_json: str) -> tuple[str, ...]:
    if name == WAN and settings.wan == "uml":
        return wan.uml_command(settings_json)
    return (
        *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe"),
        *(f"--machine={settings.name}-{name}", f"--directory={settings.folder}/{name}/root"),
        f"--network-namespace-path=/run/netns/{name}",
        *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
        # For tc, ip, and filters such as IPAddressDeny=.
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
