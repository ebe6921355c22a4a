"""Fixtures of the runtime's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from paretopipe_runtime.wire.tls import Identity
from tests.certificates import Authority
from tests.runtime.cluster import Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster.running(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Authority.made(tmp_path_factory.mktemp("authority")).identity("node", "127.0.0.1")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Let torch compute with one thread in the tests' own process.

    Some tests fork from it, and OpenMP's threads do not come along: a child that then computes with
    several waits for ever. The runtime itself never forks from a process that has computed.
    """
    import torch

    torch.set_num_threads(1)
