"""Serve a node of the benchmark: an agent with two more backends, and the transport peer."""

from __future__ import annotations

import os
from pathlib import Path

from paretopipe_runtime.wire.connect import Keys
from paretopipe_runtime.worker.agent import Agent
from paretopipe_runtime.worker.node import BACKENDS, Node

BENCHMARK_BACKENDS = {
    **BACKENDS,
    "pickle": "benchmarks.pickle_backend",
    "alone": "benchmarks.alone_backend",
}


def peer_port(port: int) -> int:
    """Return the transport peer's port for an agent's."""
    return port + 1


def serve(name: str, address: str, port: int, keys: Keys, state_dir: Path) -> None:
    """Serve until killed; agent and peer share one unit and process group."""
    node = Node(name, address, keys, state_dir, True, BENCHMARK_BACKENDS)
    if os.fork() == 0:  # before the agent starts threads, and so that torch stays out of it
        from benchmarks import peer

        peer.serve(node, peer_port(port))
    Agent(node, port).serve()
