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
from typing import Any

import psutil
import pytest

from tests.effort import THOROUGH

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
    of the virtual testbed, are not in it.
    """

    def __init__(self) -> None:
        self.began_s = time.monotonic()
        self.clock_s: Counter[str] = Counter()
        self.processor_s: Counter[str] = Counter()
        self._read_s = processor_s()

    def charge(self, folder: str) -> None:
        """Put what has been used since the last call on a folder's account."""
        now = processor_s()
        self.processor_s[folder] += max(0.0, now - self._read_s)
        self._read_s = now


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


def budget_s() -> dict[str, float]:
    """Return the processor seconds that each folder may take."""
    found: dict[str, float] = tomllib.loads(BUDGET.read_text())["processor_s"]
    return found


def over(processor_s: dict[str, float], budget_s: dict[str, float]) -> list[str]:
    """Return a sentence for each folder that takes half as much again as it may."""
    return [
        f"tests/{folder} took {seconds:.0f} s of the processor, its budget is "
        f"{budget_s.get(folder, 0)} s"
        for folder, seconds in sorted(processor_s.items())
        if seconds > SLACK * budget_s.get(folder, 0)
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
    """Leave what is thorough to `make check-all`; take the folders in the order of the budget."""
    if not THOROUGH:
        left = [item for item in items if item.get_closest_marker("thorough")]
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=left)
    place = {folder: number for number, folder in enumerate(budget_s())}
    items.sort(key=lambda item: place.get(folder_of(item.nodeid), -1))


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
        told["processor_s"] = dict(costs.processor_s)
    elif not exitstatus and _over_budget(costs):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Take over what a worker of pytest-xdist has used."""
    node.config.stash[COSTS].processor_s.update(  # type: ignore[attr-defined]
        getattr(node, "workeroutput", {}).get("processor_s", {})
    )


def _over_budget(costs: Costs) -> list[str]:
    return [] if THOROUGH else over(costs.processor_s, budget_s())


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
        f"{costs.processor_s.total():.0f} s of the processor: {each}"
    )
    for sentence in _over_budget(costs):
        terminalreporter.write_line(f"FAILED {sentence}: see {BUDGET.name}", red=True)
