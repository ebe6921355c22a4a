"""What goes wrong on other machines, each fault by itself and without a testbed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import namespaces
from tests.testbed.test_role import PROGRAM, _modules, _settings


@pytest.fixture(autouse=True)
def _program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROGRAM))


def in_mounts(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a shell script, $1 and so on its arguments, in a mount namespace of its own."""
    return subprocess.run(
        ["unshare", "--mount", "sh", "-ec", script, "sh", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(PROGRAM)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@namespaces.needed()
def test_an_image_is_built_where_resolv_conf_is_a_link(tmp_path: Path) -> None:
    """Also one that leads nowhere, as systemd-resolved's does from within another root."""
    before = sorted(Path("/opt").rglob("*"))
    none = tmp_path / "none.txt"
    none.write_text("")
    for name in ("upper", "work", "tmp", "etc", "etc-work"):
        (tmp_path / name).mkdir()
    (tmp_path / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    done = in_mounts(
        'mount -t overlay o -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/etc-work" /etc\n'
        "readlink /etc/resolv.conf\n"
        'exec "$2" -m virtual_testbed build-image-inside "$1" "$3" "$3"',
        *(tmp_path, sys.executable, none),
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.startswith("../run/systemd/resolve/stub-resolv.conf\n")
    assert (tmp_path / "upper/paretopipe/venv/bin/pip").exists()
    assert sorted(Path("/opt").rglob("*")) == before


@pytest.mark.parametrize("offered", ["cpu io memory pids", "cpu io pids", "cpuset cpu io"])
def test_of_cgroup_v2_is_used_what_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offered: str
) -> None:
    (cgroups,) = _modules("cgroups")
    monkeypatch.setattr(cgroups, "MOUNT", tmp_path)
    (tmp_path / "cgroup.controllers").write_text(offered)
    settings = _settings(tmp_path)
    cgroups.check()
    cgroups.create(settings)
    top = tmp_path / settings.name
    enabled = (top / "cgroup.subtree_control").read_text().split()
    assert {word[1:] for word in enabled} == set(offered.split()) - {"io"}
    written = {path.name for path in (top / "pi1").iterdir()}
    limits = {"cpu": "cpu.max", "cpuset": "cpuset.cpus", "memory": "memory.max"}
    assert written == {limits[name] for name in offered.split() if name in limits}
    said = settings.hosts[0].deployment(cgroups.limits_memory())
    assert ("no limit on memory" in said) == ("memory" not in offered)


def test_cgroup_v2_without_a_cpu_controller_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cgroups, shell = _modules("cgroups", "shell")
    monkeypatch.setattr(cgroups, "MOUNT", tmp_path)
    (tmp_path / "cgroup.controllers").write_text("io memory pids")
    with pytest.raises(shell.TestbedError, match="by the control groups cpu, which are not"):
        cgroups.check()
    # In a container that has processes in its root group, whatever that has cannot be passed on.
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    (tmp_path / "cgroup.type").write_text("domain")
    (tmp_path / "cgroup.procs").write_text("1\n17\n")
    (tmp_path / "cgroup.subtree_control").write_text("")
    with pytest.raises(shell.TestbedError, match="by the control groups cpu, which are not"):
        cgroups.check()
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory")
    cgroups.check()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("cgroup.controllers", "cgroup.procs", "cgroup.subtree_control", "cgroup.type")
    ]


def test_every_boot_has_a_group_of_its_own_on_cgroup_v2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What an earlier boot's systemd has left in it would let no process in again."""
    (cgroups,) = _modules("cgroups")
    monkeypatch.setattr(cgroups, "MOUNT", tmp_path)
    monkeypatch.setattr(cgroups, "_remove", shutil.rmtree)
    (tmp_path / "cgroup.controllers").write_text("cpu")
    settings = _settings(tmp_path)
    (tmp_path / settings.name / "wan/boot/init.scope").mkdir(parents=True)
    cgroups.enter(settings, "wan")
    boot = tmp_path / settings.name / "wan/boot"
    assert [path.name for path in boot.iterdir()] == ["cgroup.procs"]
    assert (boot / "cgroup.procs").read_text() == "0"


def test_a_host_without_cpuset_is_bound_to_its_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (cgroups,) = _modules("cgroups")
    settings = _settings(tmp_path)
    bound: list[set[int]] = []
    monkeypatch.setattr(cgroups, "_write", lambda *_: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, processors: bound.append(processors))
    for name in ("pi1", "wan"):
        cgroups.enter(settings, name)
    assert bound == [{3}]


class Refused:
    """A setting of the kernel's that a network namespace may read only."""

    def read_text(self) -> str:
        return "reno bbr\n"

    def write_text(self, _: str) -> None:
        raise PermissionError(1, "Operation not permitted")


def test_where_cubic_cannot_be_allowed_it_is_said_and_nothing_is_owed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shell, links = _modules("shell", "links")
    settings = _settings(tmp_path)
    settings.folder.mkdir()
    monkeypatch.setattr(links, "ALLOWED", Refused())
    with (
        pytest.raises(shell.TestbedError, match="can only be 'reno bbr' here: use cubic on the"),
        links.cubic_allowed(settings),
    ):
        pass
    assert not list(settings.folder.iterdir())


def test_down_does_all_it_can_and_tells_what_it_could_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lifecycle, shell = _modules("lifecycle", "shell")
    settings = _settings(tmp_path)
    settings.folder.mkdir()
    done: list[str] = []

    def fail(what: str) -> Any:
        def step(_: Any) -> None:
            done.append(what)
            raise (PermissionError(13, what) if what == "sysctl" else shell.TestbedError(what))

        return step

    monkeypatch.setattr(lifecycle.cgroups, "destroy", fail("groups"))
    monkeypatch.setattr(lifecycle.links, "disconnect_controller", fail("cable"))
    monkeypatch.setattr(lifecycle.links, "restore_allowed", fail("sysctl"))
    with pytest.raises(shell.TestbedError, match=r"^groups; cable; \[Errno 13\] sysctl$"):
        lifecycle.down(settings)
    assert done == ["groups", "cable", "sysctl"]
    assert not settings.folder.exists()


def test_a_start_that_fails_says_why_even_if_cleaning_up_fails_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lifecycle, shell = _modules("lifecycle", "shell")
    settings = _settings(tmp_path)

    def refuse(_: Any) -> None:
        (settings.folder / "testbed.log").write_text("what happened")
        raise PermissionError(13, "Permission denied", "/sys/fs/cgroup/cpu")

    calls = iter([None, shell.TestbedError("busy")])

    def restore(_: Any) -> None:
        if error := next(calls):
            raise error

    monkeypatch.setattr(lifecycle.machine, "check_addresses", lambda _: None)
    monkeypatch.setattr(lifecycle.roots, "create_keys", lambda _: None)
    monkeypatch.setattr(lifecycle.cgroups, "create", refuse)
    monkeypatch.setattr(lifecycle.cgroups, "destroy", lambda _: None)
    monkeypatch.setattr(lifecycle.links, "disconnect_controller", lambda _: None)
    monkeypatch.setattr(lifecycle.links, "restore_allowed", restore)
    with pytest.raises(shell.TestbedError) as caught:
        lifecycle.up(settings, "{}")
    assert str(caught.value) == (
        "[Errno 13] Permission denied: '/sys/fs/cgroup/cpu' "
        f"(logs: {tmp_path}/7-failed); and cleaning up afterwards: busy"
    )
    assert (tmp_path / "7-failed/testbed.log").read_text() == "what happened"


def test_a_machine_that_ends_at_its_start_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lifecycle, shell, supervisor = _modules("lifecycle", "shell", "supervisor")
    settings = _settings(tmp_path)
    settings.folder.mkdir()
    (settings.folder / "server.log").write_text("Failed to mount /proc\n")
    supervisor.end_mark(settings, "server").touch()
    monkeypatch.setattr(lifecycle, "_ssh_answers", lambda *_, **__: False)
    running = subprocess.Popen(["sleep", "60"])
    try:
        with pytest.raises(shell.TestbedError, match="server ended at its start: Failed to mount"):
            lifecycle._wait_for_ssh(settings, running)
    finally:
        running.kill()
        running.wait()


def test_a_failed_mount_keeps_its_reason() -> None:
    (shell,) = _modules("shell")
    said = "mount: /x: filesystem on /y not supported as upperdir.\n       dmesg(1) may have more "
    assert shell.reason(f"{said}information after failed mount system call.\n") == (
        "mount: /x: filesystem on /y not supported as upperdir."
    )
    with pytest.raises(shell.TestbedError, match=r"failed: one; two; four$"):
        shell.run("sh", "-c", "printf 'one\\ntwo\\nthree\\nfour\\n' >&2; exit 1")
    with pytest.raises(shell.TestbedError, match=r"failed: no message$"):
        shell.run("false")


@namespaces.needed("tc")
def test_netem_is_asked_of_the_kernel_as_tc_would_ask() -> None:
    (wan,) = _modules("wan")
    add = "tc qdisc add dev lo root netem delay 1ms"
    by_tc = subprocess.run(["unshare", "--net", *add.split()], capture_output=True, check=False)
    assert wan.kernel_has_netem() == (by_tc.returncode == 0)


@pytest.mark.parametrize(
    ("system", "processor", "netem", "cubic", "said"),
    [
        ("ubuntu", "x86_64", False, True, "is packaged for Debian on x86-64 only"),
        ("debian", "aarch64", False, True, "is packaged for Debian on x86-64 only"),
        ("debian", "x86_64", True, False, "need TCP's cubic, which this container may not"),
        ("debian", "x86_64", False, True, None),
        ("ubuntu", "aarch64", True, True, None),
    ],
)
def test_what_the_kernel_lacks_is_weighed_before_anything_is_installed(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    system: str,
    processor: str,
    netem: bool,
    cubic: bool,
    said: str | None,
) -> None:
    machine, shell = _modules("machine", "shell")
    found = subprocess.CompletedProcess("", 0, json.dumps({"netem": netem, "cubic": cubic}), "")
    monkeypatch.setattr(machine, "run", lambda *_, **__: found)
    monkeypatch.setattr(machine, "ALLOWED", tmp_path / "none")
    monkeypatch.setattr(machine.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(machine.platform, "freedesktop_os_release", lambda: {"ID": system})
    monkeypatch.setattr(machine.platform, "machine", lambda: processor)
    if said is None:
        machine._try(tmp_path / "not/made/yet")
    else:
        with pytest.raises(shell.TestbedError, match=said):
            machine._try(tmp_path / "not/made/yet")
    assert not list(tmp_path.iterdir())


def test_user_mode_linux_is_asked_for_only_where_the_kernel_has_no_netem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (machine,) = _modules("machine")
    monkeypatch.setattr(machine.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(machine, "NODE_PYTHON", sys.executable)
    with_uml, without = (set(machine.missing_packages(link)) for link in ("uml", "kernel"))
    assert with_uml - without == {"user-mode-linux"}
    assert {"openssh-server", "nftables", "systemd-container", "python3-venv"} <= without
