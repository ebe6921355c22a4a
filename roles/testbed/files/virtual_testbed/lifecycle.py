"""Start, health check and complete removal of a testbed."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from . import cgroups, image, links, machine, roots, supervisor
from .settings import Settings
from .shell import TestbedError, itself, system_environment

START_TIMEOUT_S = 300.0  # long, as a machine that ends is noticed at once
LOCK_TIMEOUT_S = 900.0  # long enough for another image build


@contextmanager
def exclusive() -> Iterator[None]:
    """Lock out other testbed commands on this machine."""
    folder = os.open("/run", os.O_RDONLY)  # needs no lock file
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    try:
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise TestbedError(
                        f"another testbed command has been at work for {LOCK_TIMEOUT_S / 60:.0f} "
                        "minutes; find it with: ps -ef | grep virtual_testbed"
                    ) from error
                time.sleep(0.1)
        yield
    finally:
        os.close(folder)


def ailment(settings: Settings) -> str | None:
    """Return the reason why the testbed is not up and well, if any."""
    if not settings.state_file.exists():
        return "it is not up"
    if not _is_alive(state := _state(settings)):
        return "its root process has ended"
    if state["digest"] != settings.digest or state["image"] != image.layer(settings).name:
        return "its settings have changed"
    if any(roots.lost_image(settings, host.name) for host in settings.hosts):
        return "playbooks/deprovision.yml has taken its virtual environment away"
    for name in settings.members:
        # A long timeout, for hosts busy measuring.
        if not _ssh_answers(settings.management_address(name), timeout_s=20.0):
            return f"{name} does not answer at {settings.management_address(name)}"
    return None


def up(settings: Settings, settings_json: str) -> None:
    """Build a testbed, replacing any earlier one."""
    down(settings)
    machine.check_addresses(settings)
    try:
        settings.folder.mkdir(mode=0o700, parents=True)
        roots.create_keys(settings)
        cgroups.create(settings)
        _launch(settings, settings_json)
    except (TestbedError, OSError) as error:
        logs = {path.name: path.read_bytes() for path in settings.folder.glob("*.log")}
        also = _down_after(settings)
        _failure_logs(settings).mkdir()
        for name, text in logs.items():
            (_failure_logs(settings) / name).write_bytes(text)
        raise TestbedError(f"{error} (logs: {_failure_logs(settings)}){also}") from error
    except BaseException:
        _down_after(settings)
        raise


def _down_after(settings: Settings) -> str:
    """Clean up after a failed start; return its errors as a suffix."""
    try:
        down(settings)
    except TestbedError as error:
        return f"; and cleaning up afterwards: {error}"
    return ""


def down(settings: Settings) -> None:
    """Remove every trace of a testbed, whatever its state, trying all steps."""
    steps: tuple[Callable[[Settings], None], ...] = (
        *(_kill_root, cgroups.destroy, links.disconnect_controller, links.restore_allowed),
        *(_end_ssh_masters, _remove_folders),
    )
    failures = []
    for step in steps:
        try:
            step(settings)
        except (TestbedError, OSError) as error:
            failures.append(str(error))
    if failures:
        raise TestbedError("; ".join(failures))


def _kill_root(settings: Settings) -> None:
    if _is_alive(state := _state(settings)):
        with suppress(ProcessLookupError):
            os.kill(state["pid"], signal.SIGKILL)


def _remove_folders(settings: Settings) -> None:
    for folder in (settings.folder, _failure_logs(settings)):
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            raise TestbedError(f"{folder} cannot be removed: look what holds it and try again")


def is_gone(settings: Settings) -> bool:
    here = Path("/sys/class/net") / settings.name
    folders = (settings.folder, _failure_logs(settings))
    left = any(path.exists() for path in (*folders, here))
    return not (left or cgroups.exist(settings) or _ssh_masters(settings))


def _failure_logs(settings: Settings) -> Path:
    return settings.state_root / f"{settings.id}-failed"


def _launch(settings: Settings, settings_json: str) -> None:
    command = (*machine.NAMESPACES, *itself("supervise", settings_json))
    with (settings.folder / "testbed.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=system_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # outlives the playbook
        )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        cgroups.add(settings, cgroups.SUPERVISOR, process.pid)
        state = {
            "pid": process.pid,
            "started": _started(process.pid),
            "digest": settings.digest,
            "image": image.layer(settings).name,
            "wan": settings.wan,
        }
        settings.state_file.write_text(json.dumps(state))
        with links.cubic_allowed(settings):
            _say_go(process)
            said = process.stdout.readline().strip()
        if said != supervisor.READY_FOR_CONTROLLER:
            raise TestbedError(f"the testbed did not start: {_last_line(settings, 'testbed')}")
        links.connect_controller(settings, _first_child(process.pid))
        _say_go(process)
    _wait_for_ssh(settings, process)


def _say_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # has died; reading its answer reports that
        process.stdin.write(f"{supervisor.GO}\n")
        process.stdin.flush()


def _wait_for_ssh(settings: Settings, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    for name in settings.members:
        while not _ssh_answers(settings.management_address(name), timeout_s=1.0):
            if process.poll() is not None:
                raise TestbedError(f"the testbed ended: {_last_line(settings, 'testbed')}")
            if supervisor.end_mark(settings, name).exists():
                raise TestbedError(f"{name} ended at its start: {_last_line(settings, name)}")
            if time.monotonic() > deadline:
                said = _last_line(settings, name)
                raise TestbedError(f"{name} did not come up in {START_TIMEOUT_S:.0f} s: {said}")
            time.sleep(0.05)


def _ssh_answers(address: str, timeout_s: float) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=timeout_s) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _state(settings: Settings) -> dict[str, Any]:
    try:
        return dict(json.loads(settings.state_file.read_text()))
    except (FileNotFoundError, ValueError):  # or truncated
        return {}


def _is_alive(state: dict[str, Any]) -> bool:
    return bool(state) and _started(state["pid"]) == state["started"] != 0


def _started(pid: int) -> int:
    """Return a process's start in clock ticks since boot, 0 for none or a zombie.

    With the pid, which may be reused, it identifies a process.
    """
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if after_name[0] == "Z" else int(after_name[19])


def _first_child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _end_ssh_masters(settings: Settings) -> None:
    for master in _ssh_masters(settings):
        command = ("ssh", "-F", "/dev/null", "-o", f"ControlPath={master}", "-O", "exit", "host")
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, timeout=5, check=False)
        master.unlink(missing_ok=True)


def _ssh_masters(settings: Settings) -> list[Path]:
    """List control sockets of Ansible's persistent connections.

    In /run, not the state folder, because socket paths must be short.
    """
    return list(Path("/run").glob(f"{settings.name}-*.ssh"))


def _last_line(settings: Settings, name: str) -> str:
    try:
        text = (settings.folder / f"{name}.log").read_text(errors="replace")
    except OSError:
        return "no log"
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "its log is empty"
