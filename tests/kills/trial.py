"""One trial: a sweep is killed at a phase, goes on, and has lost nothing and doubled nothing."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretopipe_runtime import job
from paretopipe_runtime.contract.lines import canonical
from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.orchestrator.prepared import prepare
from paretopipe_runtime.orchestrator.runs import expand
from tests.kills.zygote import Zygote
from tests.runtime.cluster import Cluster

VICTIMS = ("worker", "orchestrator", "controller")
LEASE_S = 0.4
AGAIN = 4  # controllers one after the other until the plan is complete


@dataclass(frozen=True)
class Bench:
    """Two agents, a zygote, and a plan that has been prepared on them."""

    cluster: Cluster
    zygote: Zygote
    plan: dict[str, Any]
    keys: frozenset[str]

    @classmethod
    @contextmanager
    def ready(cls, folder: Path, *, stub: bool) -> Iterator[Bench]:
        module = "tests.kills.agent" if stub else "paretopipe_runtime.cli"
        with (
            Cluster.running(folder, module=module, forked=not stub) as cluster,
            Zygote.running(folder, stub=stub) as zygote,
        ):
            plan = cluster.plan(repeats=1)
            (folder / "plan.json").write_text(json.dumps(plan))
            log = str(folder / "prepare.log")
            pid = zygote.fork("prepare", command=command(cluster, "prepare"), log=log)
            assert zygote.status(pid, 120) == 0, Path(log).read_text()
            yield cls(cluster, zygote, plan, keys(plan, cluster.state_dir))

    def sweep(self, folder: Path) -> list[str]:
        """The command that measures the plan into `folder`."""
        options = {"--records": "orchestrator.jsonl", "--merge": "merge.jsonl"}
        options |= {"--progress": "progress.json", "--lease": "lease"}
        named = [word for key, name in options.items() for word in (key, str(folder / name))]
        return [*command(self.cluster, "sweep"), "--lease-seconds", str(LEASE_S), *named]

    def control(self, folder: Path, **options: Any) -> int:
        """Fork a controller; return its pid."""
        log = str(folder / "log")
        return self.zygote.fork(
            "control", folder=str(folder), command=self.sweep(folder), log=log, **options
        )

    def settle(self) -> None:
        """Wait until nothing of a sweep is left, here or on a worker."""
        wait_until(lambda: not self.zygote.strays(), 30, "a process of the sweep is left")
        wait_until(lambda: not any(map(self.stages, self.cluster.agents)), 30, "a stage is left")

    def stages(self, node: str) -> list[int]:
        """Living stage processes of a node."""
        return self.cluster.stage_processes(node)

    def finish(self, folder: Path) -> int:
        """Give the same command until the plan is complete; return how often that took."""
        for attempt in range(1, AGAIN + 1):
            status = self.zygote.status(self.control(folder))
            self.settle()
            if status == 0:
                return attempt
        raise AssertionError(f"still {status} after {AGAIN}: {(folder / 'log').read_text()}")


def keys(document: dict[str, Any], state_dir: Path) -> frozenset[str]:
    """The keys of every run of a prepared plan."""
    plan = read_plan(document)
    return frozenset(run.key for run in expand(plan, prepare(plan.workload, state_dir).hop_bytes))


def command(cluster: Cluster, name: str, plan: Path | None = None) -> list[str]:
    """The arguments of the `paretopipe` command for a plan, the prepared one by default."""
    state, key = str(cluster.state_dir), str(cluster.key_file)
    path = str(plan or cluster.folder / "plan.json")
    return [name, path, "--state-dir", state, "--key-file", key]


def kill_at(bench: Bench, folder: Path, phase: str, victim: str, run: int, node: str) -> None:
    """Kill `victim` while the sweep is at `phase` of its `run`-th run, go on, and check."""
    gate = {"folder": str(folder), "phase": phase, "run": run}
    controller = bench.control(folder, gate=gate)
    reach(folder, phase)
    before = Files(folder)
    if victim == "controller":
        os.kill(controller, signal.SIGKILL)
    elif victim == "orchestrator":
        os.kill(int((folder / "sweep.pid").read_text()), signal.SIGKILL)
    else:
        kill_worker(bench, node)
    (folder / "go").touch()
    bench.zygote.status(controller)
    bench.settle()
    bench.finish(folder)
    check(bench, folder, before)


def kill_controller_at(bench: Bench, folder: Path, phase: str) -> None:
    """Kill the controller at one of its own phases, go on, and check."""
    controller = bench.control(folder, phase=phase)
    reach(folder, phase)
    before = Files(folder)
    os.kill(controller, signal.SIGKILL)
    bench.zygote.status(controller)
    bench.settle()
    bench.finish(folder)
    check(bench, folder, before)


def kill_worker(bench: Bench, node: str) -> None:
    """Kill the stage process there; where there is none, the whole agent, as its unit would."""
    stages = bench.stages(node)
    for pid in stages:
        os.kill(pid, signal.SIGKILL)
    if not stages:
        bench.cluster.stop(node)
        bench.cluster.start(node)


def reach(folder: Path, phase: str) -> None:
    log, reached = folder / "log", folder / "reached"

    def came_or_failed() -> bool:
        return reached.exists() or (log.exists() and "Traceback" in log.read_text())

    wait_until(came_or_failed, 60, f"phase {phase} never came")
    assert reached.exists(), log.read_text()


class Files:
    """The whole lines of a sweep's two files at one moment."""

    def __init__(self, folder: Path) -> None:
        self.orchestrator = whole(folder / "orchestrator.jsonl")
        self.home = whole(folder / "home.jsonl")


def whole(path: Path) -> bytes:
    content = path.read_bytes() if path.exists() else b""
    return content[: content.rfind(b"\n") + 1]


def check(bench: Bench, folder: Path, before: Files) -> None:
    """0 lost, 0 doubled, earlier records as they were, no process, no lock, no scratch file."""
    after = Files(folder)
    assert after.orchestrator == (folder / "orchestrator.jsonl").read_bytes()
    assert after.orchestrator.startswith(before.orchestrator)
    assert after.home.startswith(before.home)
    assert after.home == after.orchestrator
    assert_complete(after.home, bench.keys)
    assert_free(bench.cluster.state_dir)
    assert not list(folder.glob(".*")), "a scratch file is left"


def assert_complete(content: bytes, keys: frozenset[str]) -> None:
    """Every run of the plan has exactly one valid record, and no line is damaged."""
    rows = [_sound(line) for line in content.splitlines()]
    valid = Counter(row["run_key"] for row in rows if row.get("status") == "ok")
    assert valid == Counter(keys), "lost or doubled"
    for row in rows:
        assert row["kind"] == "plan" or row["status"] == "ok" or row["message"]


def _sound(line: bytes) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(line)
    crc32 = row.pop("crc32")
    assert f"{zlib.crc32(canonical(row)):08x}" == crc32
    return row


def assert_free(state_dir: Path) -> None:
    with (state_dir / job.NAME).open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def wait_until(condition: Callable[[], object], timeout: float, otherwise: str) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.005)


def upper_bound(trials: int) -> float:
    """The exact 95 % upper bound of a failure's probability after no failure in `trials`."""
    return float(1 - 0.05 ** (1 / trials))
