"""Fixtures of several folders' tests; a conftest imports those that it wants."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

needs_executorch = pytest.mark.skipif(
    find_spec("executorch") is None or find_spec("torchao") is None,
    reason="ExecuTorch is missing: pip install --no-deps -r requirements/nodeps.txt",
)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Weights on disk once for all tests of a folder, which none damages: up to a gigabyte."""
    path = tmp_path_factory.mktemp("weights")
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Let torch compute with one thread in the tests' own process, as a stage does.

    Some tests fork from it, and OpenMP's threads do not come along: a child that then computes with
    several waits for ever. The runtime itself never forks from a process that has computed.
    """
    torch.set_num_threads(1)
