"""A real relay in a process of its own, and somewhere for its hops to lead."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.shared import one_thread as one_thread

Address = tuple[str, int]
SHAPED, OTHER, HOP = "127.0.76.11", "127.0.76.12", "127.0.76.101"


@dataclass
class Started:
    """A relay that listens; each of its ways is known by the name of the host it leads to."""

    process: subprocess.Popen[str]
    lease: Path
    document: dict[str, Any] = field(default_factory=dict)  # as the relay printed it

    def way(self, name: str) -> Address:
        address, port = self.document["ways"][name]
        return str(address), int(port)


@contextlib.contextmanager
def started(
    folder: Path, targets: dict[str, Address], *options: str, shaped: str = "pi1"
) -> Iterator[Started]:
    """A relay to `targets`, one hop each on a free port; stopped afterwards if it still runs."""
    lease = folder / "lease"
    lease.touch()
    hops = []
    for name, (address, port) in targets.items():
        hops += ["--from" if name == shaped else "--towards", f"{name}={HOP}:0={address}:{port}"]
    if shaped not in targets:
        hops += ["--from", f"{shaped}={HOP}:0={SHAPED}:9"]
    command = [sys.executable, "-m", "paretopipe_runtime.cli", "relay", *hops, *options]
    with subprocess.Popen(
        [*command, "--lease", str(lease)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert process.stderr
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield Started(process, lease, json.loads(line))
        finally:
            process.terminate()


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket], object]], Address]]:
    """Let a function have every connection to an address; it is in threads of its own."""
    with contextlib.ExitStack() as open_:

        def at(handle: Callable[[socket.socket], object], address: str = OTHER) -> Address:
            server = open_.enter_context(socket.create_server((address, 0)))

            def work(sock: socket.socket) -> None:
                with sock, contextlib.suppress(OSError):
                    handle(sock)

            def accept() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        sock, _ = server.accept()
                        threading.Thread(target=work, args=(sock,), daemon=True).start()

            threading.Thread(target=accept, daemon=True).start()
            open_.callback(server.shutdown, socket.SHUT_RDWR)
            where = server.getsockname()
            return str(where[0]), int(where[1])

        yield at
