"""Two of the benchmark's nodes on loopback addresses."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.node import peer_port
from tests.runtime import warm
from tests.runtime.cluster import ADDRESSES, Cluster

BARE = "pi3"  # has no certificate


class BenchmarkCluster(Cluster):
    """Nodes of the benchmark instead of agents of the product."""

    def start(self, name: str) -> None:
        words = [
            *("benchmarks", "node", "--node", name),
            *("--address", self.addresses[name]),
            *("--port", str(self.port)),
            *("--key-file", str(self.key_file)),
            *("--state-dir", str(self.folder / name)),
            *self.arguments(name),
        ]
        log = self.folder / f"{name}.log"
        self.agents[name] = warm.start(words, log, self._processor(name))
        for port in (self.port, peer_port(self.port)):
            self._wait(name, port)

    def document(self, *workers: str, **changes: Any) -> dict[str, Any]:
        """Return what the role writes, for tiny measurements."""
        return {
            "network": {"name": "loopback", "netem": None, "burst_bytes": 0, "measured": None},
            "workers": [
                {"host": name, "address": self.addresses[name], "port": self.port}
                for name in workers or ADDRESSES
            ],
            "hub": {"host": "pi2", "address": ADDRESSES["pi2"], "port": self.port},
            "batch_size": 2,
            "window": 3,
            "image_px": 32,
            "records": str(self.folder / "records.jsonl"),
            "result": str(self.folder / "result.json"),
            "progress": str(self.folder / "progress.json"),
            **changes,
        }

    def _wait(self, name: str, port: int) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection((self.addresses[name], port), timeout=1).close()
                return
            except OSError:
                assert self.agents[name].poll() is None, self.log(name)
                time.sleep(0.1)
        raise AssertionError(self.log(name))


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BenchmarkCluster]:
    folder = tmp_path_factory.mktemp("benchmark")
    addresses = {**ADDRESSES, BARE: "127.0.77.13"}
    with BenchmarkCluster.running(folder, tls=True, addresses=addresses) as made:
        yield made
