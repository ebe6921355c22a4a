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


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, as a stage does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
