"""Fixtures of the runtime's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from paretopipe_runtime.wire.tls import Identity
from tests.certificates import Authority
from tests.runtime.cluster import Cluster
from tests.shared import one_thread as one_thread


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster.running(tmp_path_factory.mktemp("cluster"), forked=True) as made:
        yield made


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Authority.made(tmp_path_factory.mktemp("authority")).identity("node", "127.0.0.1")
