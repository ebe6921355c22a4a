"""A node of the benchmark, and what it and the process that measures agree on: no torch here."""

from __future__ import annotations

import os
from dataclasses import astuple, dataclass
from pathlib import Path

from paretopipe_runtime.wire.frames import Tensor
from paretopipe_runtime.wire.keys import Keys
from paretopipe_runtime.worker.agent import Agent
from paretopipe_runtime.worker.node import BACKENDS, Node

TIMEOUT_S = 120.0
BENCHMARK_BACKENDS = {**BACKENDS, **dict.fromkeys(("pickle", "alone"), "benchmarks.backends")}


@dataclass(frozen=True)
class Form:
    """Tensors, acknowledgements and allocator that both ends of a connection agree on."""

    method: str
    allocator: str
    nbytes: int
    pings: int
    streams: int

    @property
    def name(self) -> str:
        """All fields in one word, for a peer that receives only a run's name."""
        return "-".join(map(str, astuple(self)))

    @classmethod
    def parse(cls, name: str) -> Form:
        """Invert `name`."""
        method, allocator, *numbers = name.split("-")
        return cls(method, allocator, *map(int, numbers))

    @property
    def transport(self) -> str:
        return "tls" if self.method == "tls" else "plain"

    @property
    def tensor(self) -> Tensor:
        return Tensor((self.nbytes // 4,), "float32", self.nbytes)


def peer_port(port: int) -> int:
    """Return the transport peer's port for an agent's."""
    return port + 1


def serve(name: str, address: str, port: int, keys: Keys, state_dir: Path) -> None:
    """Serve until killed: an agent with two more backends, and the transport peer.

    They share one unit and process group.
    """
    node = Node(name, address, keys, state_dir, True, BENCHMARK_BACKENDS)
    if os.fork() == 0:  # before the agent starts threads, and so that torch stays out of it
        from benchmarks import transport

        transport.serve(node, peer_port(port))
    Agent(node, port).serve()
