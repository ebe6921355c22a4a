"""Fixtures of the runtime's tests."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator

import pytest

from tests.runtime.cluster import ADDRESSES, Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    key = secrets.token_bytes(32)
    (folder / "key").write_text(key.hex())
    with socket.create_server((ADDRESSES["pi1"], 0)) as probe:
        port = probe.getsockname()[1]
    made = Cluster(folder, key, port)
    for name in ADDRESSES:
        made.start(name)
    yield made
    for name in list(made.agents):
        made.stop(name)
