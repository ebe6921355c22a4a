"""The suite stays small: a run fails whose folders take half as much again as their budget."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import conftest

ROOT = Path(__file__).parents[1]
PYTEST = (sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml"))
SLOW = """
import time
def test_slow():
    end = time.process_time() + 0.4
    while time.process_time() < end:
        pass
"""


def test_what_takes_half_as_much_again_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conftest, "BUDGET", tmp_path / "budget.toml")
    conftest.BUDGET.write_text("loop_s = 0.005\n[processor_s]\nwire = 10\n")
    assert conftest.over({"wire": 14.9}) == []
    assert conftest.over({"wire": 15.1}) == [
        "tests/wire took 15 s of the processor, its budget is 10 s"
    ]
    assert conftest.over({"wire": 29.9}, 2.0) == []
    assert conftest.over({"wire": 30.1}, 2.0) == [
        "tests/wire took 30 s of the processor, its budget is 20 s "
        "(this machine is 2.0 times as slow)"
    ]
    costs = conftest.Costs()
    assert costs.slowness == 1
    costs.loops_s = [0.009, 0.010, 0.011]
    assert costs.slowness == pytest.approx(2)
    costs.loops_s = [0.001]
    assert costs.slowness == 1
    assert conftest.over({"new": 3.0}) == ["tests/new took 3 s of the processor, its budget is 0 s"]


@pytest.mark.parametrize(
    ("workers", "more", "status"),
    [((), (), 1), (("-n1",), (), 1), ((), ("THOROUGH",), 0)],
    ids=["alone", "by a worker", "thorough"],
)
def test_a_folder_over_its_budget_fails_the_run(
    tmp_path: Path, workers: tuple[str, ...], more: tuple[str, ...], status: int
) -> None:
    """Of another tree, with this one's conftest and a budget of nothing."""
    tests = tmp_path / "tests"
    (tests / "new").mkdir(parents=True)
    for name in ("conftest.py", "effort.py"):
        (tests / name).write_text((ROOT / "tests" / name).read_text())
    (tests / "budget.toml").write_text("loop_s = 1\n[processor_s]\nnew = 0.1\n")
    (tests / "new/test_new.py").write_text(SLOW)
    environment = {name: value for name, value in os.environ.items() if name != "THOROUGH"}
    done = subprocess.run(
        [*PYTEST, f"--rootdir={tmp_path}", *workers, tests],
        cwd=tmp_path,
        env={**environment, **dict.fromkeys(more, "1"), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert ("FAILED tests/new took" in done.stdout) is bool(status)
