"""Settings of the benchmark that fit into the time, and code that unpickles and stays outside."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from setuptools import find_packages

import benchmarks
from benchmarks import parts, runner
from benchmarks.node import BENCHMARK_BACKENDS
from paretopipe_runtime.contract.factors import ALLOCATOR
from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.splits import validate_cuts

SETTINGS = yaml.safe_load((Path(benchmarks.__file__).parent / "settings.yml").read_text())
PARTS = ("pipeline", "engines", "memory")
MOST_S = 25 * 60
ROOT = Path(__file__).resolve().parents[2]


def document(name: str, **changes: Any) -> dict[str, Any]:
    request = {
        "name": name,
        "settings": SETTINGS["networks"][name],
        "workers": ["pi1", "pi2"],
        "hub": "server",
        "addresses": {"pi1": "192.0.2.1", "pi2": "192.0.2.2", "server": "192.0.2.3"},
        "port": 7,
        "measured": None,
        **changes,
    }
    return runner.narrowed(runner.document_of(request))


@pytest.mark.parametrize("name", SETTINGS["networks"])
def test_what_they_name_exists(name: str) -> None:
    settings = document(name)
    for part in PARTS:
        for group in parts.cases(part, settings[part]) if part in settings else ():
            for case in group:
                validate_cuts(case.model, model_info(case.model).blocks, (case.cut,))
                assert case.backend in BENCHMARK_BACKENDS
                assert case.allocator in ALLOCATOR.values
                assert case.engine in parts.engines(["all"])
                assert model_info(case.model)


def test_the_times_add_up_to_less_than_half_an_hour() -> None:
    budgets = [
        network[part]["budget_s"]
        for network in SETTINGS["networks"].values()
        for part in ("transport", *PARTS)
        if part in network
    ]
    assert sum(budgets) <= MOST_S


def test_a_comparison_with_the_limit_has_its_limit() -> None:
    for name in SETTINGS["networks"]:
        for group in parts.cases("pipeline", document(name)["pipeline"]):
            allocators = {case.allocator for case in group if case.backend == "alone"}
            assert {case.allocator for case in group} <= allocators


def test_a_request_becomes_a_document() -> None:
    made = document("wan", quick=True, models=["alexnet"])
    assert made["workers"] == [
        {"host": "pi1", "address": "192.0.2.1", "port": 7},
        {"host": "pi2", "address": "192.0.2.2", "port": 7},
    ]
    assert made["hub"]["host"] == "server"
    assert made["network"]["netem"]["delay"] == "200ms"
    assert made["network"]["about"] == "netem: 200ms one way, 5mbit"
    assert made["pipeline"]["rounds"] == 1
    assert {case["model"] for case in made["pipeline"]["cases"]} == {"alexnet"}
    assert document("gigabit")["network"]["about"] == "token bucket: 1gbit, burst 256 KiB"
    assert document("unshaped")["network"]["netem"] is None


def test_rounds_interleave_and_turn() -> None:
    seen = list(parts.interleaved([["a", "b"], ["x"]], 2, 60))
    assert seen == [(1, "a"), (1, "b"), (1, "x"), (2, "b"), (2, "a"), (2, "x")]


def test_a_round_that_does_not_fit_any_more_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("benchmarks.parts.time.monotonic", lambda: now[0])
    seen = []
    for round_, item in parts.interleaved([["a"], ["b"]], 9, 10.0):
        seen.append((round_, item))
        now[0] += 2.0
    assert seen == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]
    now[0] = 0.0
    late = []
    for _, item in parts.interleaved([["a"], ["b"], ["c"]], 9, 10.0):
        late.append(item)
        now[0] += 8.0
    assert late == ["a", "b"]


def test_it_is_not_in_the_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    include = settings["tool"]["setuptools"]["packages"]["find"]["include"]
    packages = find_packages(str(ROOT), include=include)
    assert "paretopipe_runtime" in packages
    assert not [name for name in packages if name.startswith("benchmarks")]


def test_the_product_does_not_know_it() -> None:
    for path in (ROOT / "paretopipe_runtime").rglob("*.py"):
        assert "benchmarks" not in path.read_text(), path


def test_the_process_that_measures_stays_free_of_torch_and_pickle_of_its_own() -> None:
    code = "import sys, benchmarks.runner, benchmarks.tables; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "roles/bench/files:."},
    )
    assert done.returncode == 0, done.stderr
    assert not {"torch", "benchmarks.backends"} & set(done.stdout.split())
