"""What the suite leaves out, and what it costs: its slowest tests, and its budget by folder.

With pytest-xdist a folder stays with one worker, so that its fixtures are made once; only of the
two largest, whose fixtures are cheap, each module goes its own way.
"""

from __future__ import annotations

import contextlib
import os
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import pytest

from tests.effort import THOROUGH

# Tests read what Ansible itself prints, whatever people are shown.
os.environ["ANSIBLE_STDOUT_CALLBACK"] = "default"
# Tests run side by side: threads for small matrices would only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
BUDGET = Path(__file__).with_name("budget.toml")
COSTS = pytest.StashKey["Costs"]()
collect_ignore = ["campaigns"]  # `make soak` runs them by their name
SLOWEST = 10
BY_MODULE = {"playbooks", "runtime"}
SLACK = 1.5


class Costs:
    """Seconds that tests took: each on the clock, and all of a folder's of the processor.

    Processor time is this process's, that of the children it has waited for, and that of all its
    living descendants, read where a module ends. Those who have left the family, such as the hosts
    of the virtual testbed, are not in it. A fixed loop is timed there as well: on a slower machine,
    or on one whose processors share a core, all takes longer.
    """

    def __init__(self) -> None:
        self.began_s = time.monotonic()
        self.clock_s: Counter[str] = Counter()
        self.processor_s: Counter[str] = Counter()
        self.loops_s: list[float] = []
        self._read_s = processor_s()

    def charge(self, folder: str) -> None:
        """Put what has been used since the last call on a folder's account."""
        now = processor_s()
        self.processor_s[folder] += max(0.0, now - self._read_s)
        self.loops_s.append(loop_s())
        self._read_s = processor_s()

    @property
    def slowness(self) -> float:
        """How much longer than the budget's machine this one takes; at least 1."""
        return max(1.0, median(self.loops_s) / budget()["loop_s"]) if self.loops_s else 1.0


def processor_s() -> float:
    """Return the processor seconds that this process and its family have used so far."""
    used = sum(os.times()[:4])
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            used += sum(child.cpu_times()[:4])
    return used


def folder_of(nodeid: str) -> str:
    """Return the folder of ``tests/`` that a test is in; ``.`` for one directly below it."""
    parts = nodeid.partition("::")[0].split("/")
    return parts[1] if len(parts) > 2 else "."


def loop_s() -> float:
    """Return the processor seconds of a fixed loop, here and now."""
    began, total = time.thread_time(), 0
    for number in range(100_000):
        total += number * number
    return time.thread_time() - began


def budget() -> dict[str, Any]:
    """Return `loop_s` of the budget's machine, and the seconds that each folder takes there."""
    return tomllib.loads(BUDGET.read_text())


def over(processor_s: dict[str, float], slowness: float = 1.0) -> list[str]:
    """Return a sentence for each folder that takes half as much again as it may."""
    may = {name: slowness * seconds for name, seconds in budget()["processor_s"].items()}
    slower = f" (this machine is {slowness:.1f} times as slow)" if slowness > 1 else ""
    return [
        f"tests/{folder} took {seconds:.0f} s of the processor, its budget is "
        f"{may.get(folder, 0):.0f} s{slower}"
        for folder, seconds in sorted(processor_s.items())
        if seconds > SLACK * may.get(folder, 0)
    ]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COSTS] = Costs()


def pytest_report_header() -> str:
    """Say which of the two suites this is."""
    return "effort: " + (
        "everything, in large numbers (THOROUGH=1)"
        if THOROUGH
        else "the suite's own; the large numbers, and what is marked thorough: make check-all"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let a folder or a module be what pytest-xdist gives a worker, in the order of collection."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder = folder_of(nodeid)
            return nodeid.partition("::")[0] if folder in BY_MODULE else folder

    config.option.loadscopereorder = False
    return ByFolder(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what is thorough to `make check-all`; take the folders in the order of the budget.

    What is marked `last` ends what tests of other folders share.
    """
    if not THOROUGH:
        left = [item for item in items if item.get_closest_marker("thorough")]
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=left)
    place = {folder: number for number, folder in enumerate(budget()["processor_s"])}
    items.sort(
        key=lambda item: (
            item.get_closest_marker("last") is not None,
            place.get(folder_of(item.nodeid), -1),
        )
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Charge a folder at the end of each of its modules."""
    yield
    if nextitem is None or nextitem.path != item.path:
        item.config.stash[COSTS].charge(folder_of(item.nodeid))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail if the budget is passed; a worker of pytest-xdist tells the others' process instead."""
    costs = session.config.stash[COSTS]
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told |= {"processor_s": dict(costs.processor_s), "loops_s": costs.loops_s}
    elif not exitstatus and _over_budget(costs):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Take over what a worker of pytest-xdist has used."""
    costs: Costs = node.config.stash[COSTS]  # type: ignore[attr-defined]
    told = getattr(node, "workeroutput", {})
    costs.processor_s.update(told.get("processor_s", {}))
    costs.loops_s += told.get("loops_s", [])


def _over_budget(costs: Costs) -> list[str]:
    return [] if THOROUGH else over(costs.processor_s, costs.slowness)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show the slowest tests, and the processor time by folder."""
    costs = config.stash[COSTS]
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                costs.clock_s[report.nodeid] += report.duration
    if not costs.clock_s:
        return
    terminalreporter.section(f"the {SLOWEST} slowest, in seconds")
    for name, seconds in costs.clock_s.most_common(SLOWEST):
        terminalreporter.write_line(f"{seconds:7.1f}  {name}")
    each = ", ".join(
        f"{folder} {seconds:.0f}" for folder, seconds in costs.processor_s.most_common()
    )
    terminalreporter.write_line(
        f"{len(costs.clock_s)} tests in {time.monotonic() - costs.began_s:.0f} s, "
        f"{costs.processor_s.total():.0f} s of the processor: {each}; "
        f"the loop {1000 * median(costs.loops_s or [0]):.1f} ms"
    )
    for sentence in _over_budget(costs):
        terminalreporter.write_line(f"FAILED {sentence}: see {BUDGET.name}", red=True)
