"""The benchmark unpickles what a peer sends: it must not get into the product."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from setuptools import find_packages

ROOT = Path(__file__).resolve().parents[2]


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
