"""What the suite leaves out, and what it costs: processor time by folder, the ten slowest tests."""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Iterator

import psutil
import pytest

from tests.effort import THOROUGH

COSTS = pytest.StashKey["Costs"]()
JUDGE = "tests/test_budget.py"
SLOWEST = 10


class Costs:
    """Seconds that tests took: each on the clock, and all of a folder's of the processor.

    Processor time is this process's, that of the children it has waited for, and that of all its
    living descendants, read where a module ends. Those who have left the family, such as the hosts
    of the virtual testbed, are not in it.
    """

    def __init__(self) -> None:
        self.began_s = time.monotonic()
        self.clock_s: dict[str, float] = {}
        self.processor_s: dict[str, float] = defaultdict(float)
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


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COSTS] = Costs()


def pytest_report_header() -> str:
    """Say which of the two suites this is."""
    return "effort: " + (
        "everything, in large numbers (THOROUGH=1)"
        if THOROUGH
        else "the suite's own; the large numbers and what is marked thorough: make check-all"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what is thorough to `make check-all`, and judge the budget last."""
    if not THOROUGH:
        left = [item for item in items if item.get_closest_marker("thorough")]
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]
        config.hook.pytest_deselected(items=left)
    items.sort(key=lambda item: item.nodeid.startswith(JUDGE))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Take the time of a test, and at the end of its module that of the processor."""
    costs = item.config.stash[COSTS]
    began = time.monotonic()
    yield
    costs.clock_s[item.nodeid] = time.monotonic() - began
    if nextitem is None or nextitem.path != item.path:
        costs.charge(folder_of(item.nodeid))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Show the ten slowest tests, and the processor time by folder."""
    costs = config.stash[COSTS]
    if not costs.clock_s:
        return
    terminalreporter.section(f"the {SLOWEST} slowest, in seconds")
    slowest = sorted(costs.clock_s.items(), key=lambda one: -one[1])
    for name, seconds in slowest[:SLOWEST]:
        terminalreporter.write_line(f"{seconds:7.1f}  {name}")
    folders = sorted(costs.processor_s.items(), key=lambda one: -one[1])
    each = ", ".join(f"{folder} {seconds:.0f}" for folder, seconds in folders if seconds >= 0.5)
    terminalreporter.write_line(
        f"{len(costs.clock_s)} tests in {time.monotonic() - costs.began_s:.0f} s, "
        f"{sum(costs.processor_s.values()):.0f} s of the processor: {each}"
    )
