"""What a zygote forks: preparing, a sweep under a gate, and a controller that follows a sweep."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from paretopipe_runtime import cli, job
from paretopipe_runtime.orchestrator import forecast, pipeline, prepared
from paretopipe_runtime.version import version
from tests.kills import disks, phases, stub
from tests.kills.zygote import ROOT

POLL_S = 0.01
GREETING_S = 2.5  # with deadlines: for an agent to prove itself; more than an agent gives a client


@functools.cache
def _plugin(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def collect_records() -> ModuleType:
    """The plugin. Not before the first controller: after Ansible, torch cannot be imported."""
    return _plugin("roles/sweep/action_plugins/collect_records.py")


def warm(*, stub: bool) -> None:
    """Do once what every forked process would do again."""
    version()
    assert forecast
    if stub:
        _use_the_stub()


def _use_the_stub() -> None:
    prepared._make = stub.make


def prepare(command: list[str], log: str) -> int:
    """Run a command of the real CLI."""
    _redirect(log)
    return cli.main(command)


def measure(
    command: list[str],
    log: str,
    *,
    records: str,
    gate: dict[str, Any] | None = None,
    deadlines: list[float] | None = None,
) -> int:
    """Run `paretopipe sweep`, with a gate at one of its phases, and with other deadlines."""
    _redirect(log)
    job.SECOND_LOOK_S = 0.1
    if deadlines:
        fixed = pipeline.Deadlines(*deadlines)
        pipeline.COMPUTE_ALLOWANCE_S = fixed.batch_s
        pipeline.CONNECT_S = GREETING_S
        pipeline.Deadlines.of = classmethod(lambda *_: fixed)
    if gate:
        hold = phases.Gate(Path(gate["folder"]), gate["phase"], gate["run"])
        phases.hook(hold, Path(records))
    return cli.main(command)


def control(folder: str, command: list[str], log: str, *, phase: str = "", **options: Any) -> int:
    """What the sweep role does: lay, start, follow, bring home. `phase` is one of its own."""
    orchestrator, home = Path(folder) / "orchestrator.jsonl", Path(folder) / "home.jsonl"
    hold = phases.Gate(Path(folder), phase, 0)

    def at(where: str) -> None:
        hold.run = 0
        hold(where)

    if home.exists():
        shutil.copyfile(home, f"{folder}/merge.jsonl")
    held = Path(folder) / "lease"
    held.touch()
    at("laid")
    sweep_pid = os.fork()
    if not sweep_pid:
        os.setsid()  # as a unit of its own it outlives whoever started it
        os._exit(measure(command, log, records=str(orchestrator), **options))
    (Path(folder) / "sweep.pid").write_text(str(sweep_pid))
    at("started")
    while True:
        held.touch()
        pid, status = os.waitpid(sweep_pid, os.WNOHANG)
        if pid:
            break
        if orchestrator.exists() and orchestrator.read_bytes().count(b'"kind":"run"'):
            at("following")
        time.sleep(POLL_S)
    phases.around(Path, "replace", before=lambda *_: at("pulled_not_renamed"))
    at("not_pulled")
    ours = home.read_bytes() if home.exists() else b""
    if orchestrator.exists():
        content = collect_records().joined(ours, orchestrator.read_bytes())
        if content != ours:
            collect_records().replace(home, content)
    at("pulled")
    return abs(os.waitstatus_to_exitcode(status))


CONTROLLER_PHASES = (
    *("laid", "started", "following", "not_pulled", "pulled_not_renamed", "pulled"),
)


def _redirect(log: str) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def fill(log: str, **arguments: Any) -> int:
    """See `disks.fill`."""
    _redirect(log)
    return disks.fill(**arguments)


def fail(log: str, **arguments: Any) -> int:
    """See `disks.fail`."""
    _redirect(log)
    return disks.fail(**arguments)


JOBS = {"prepare": prepare, "measure": measure, "control": control, "fill": fill, "fail": fail}
