"""Campaigns, too slow for the suite; `make soak` keeps their findings as text."""

from __future__ import annotations

import multiprocessing
import os
import platform
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
import torch

from paretopipe_runtime import environment
from paretopipe_runtime.version import version
from tests.runtime.cluster import Cluster
from tests.runtime.test_rpc import rpc_cluster as rpc_cluster

DOCS = Path(__file__).parents[2] / "docs" / "campaigns"


class Findings:
    """Lines under a title, for ``docs/campaigns/NAME.txt``."""

    def __init__(self, name: str, title: str) -> None:
        self._path = DOCS / f"{name}.txt"
        host = environment.describe_host()
        self._lines = [
            title,
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, commit {_commit()}, runtime {version()}, "
            f"torch {torch.__version__}, Python {platform.python_version()}",
            f"{host['cpu_model']}, {psutil.cpu_count()} cores, "
            f"{psutil.virtual_memory().total / 2**30:.0f} GiB, Linux {platform.release()}",
            "",
        ]

    def add(self, line: str) -> None:
        print(line, flush=True)
        self._lines.append(line.rstrip())

    def write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text("\n".join(self._lines) + "\n")


def _commit() -> str:
    asked = ["git", "describe", "--always", "--dirty"]
    said = subprocess.run(asked, cwd=DOCS, capture_output=True, text=True, check=False)
    return said.stdout.strip() or "unknown"


@pytest.fixture(scope="module")
def cluster(rpc_cluster: Cluster) -> Cluster:
    return rpc_cluster


@pytest.fixture(scope="module")
def findings(request: pytest.FixtureRequest) -> Iterator[Findings]:
    """The module's findings, titled by its docstring's first line."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_")
    kept = Findings(name, request.module.__doc__.splitlines()[0])
    yield kept
    kept.write()


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """A process for each processor; what they run is imported anew."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=fresh) as made:
        yield made
