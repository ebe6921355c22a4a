"""Fixtures of the tests that kill, stop, starve and fill."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kills.trial import Bench
from tests.shared import one_thread as one_thread


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Stages without torch."""
    with Bench.ready(tmp_path_factory.mktemp("stub"), stub=True) as made:
        yield made


@pytest.fixture(scope="session")
def real_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Stages with torch."""
    with Bench.ready(tmp_path_factory.mktemp("real"), stub=False) as made:
        yield made
