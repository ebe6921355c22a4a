"""Two real agents on loopback addresses: the runtime end to end, without hosts or Ansible."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from paretopipe_runtime.wire.keys import Keys
from paretopipe_runtime.wire.tls import Identity
from tests.certificates import Authority
from tests.made.plans import document
from tests.runtime import warm

ADDRESSES = {"pi1": "127.0.77.11", "pi2": "127.0.77.12"}


@dataclass
class Cluster:
    """Agents that run, their shared key, and a plan that fits them."""

    folder: Path
    key: bytes
    port: int
    options: tuple[str, ...] = ()  # of every agent
    pythons: dict[str, Path] = field(default_factory=dict)  # of nodes with one of their own
    start_s: float = 60  # within which an agent listens
    module: str = "paretopipe_runtime.cli"  # what is run as the agent's command
    forked: bool = False  # from a process that has PyTorch: see warm.py
    identities: dict[str, Identity] = field(default_factory=dict)  # for TLS; the orchestrator's too
    authority: Authority = field(init=False, repr=False)  # of those
    agents: dict[str, subprocess.Popen[bytes] | warm.Forked] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=lambda: dict(ADDRESSES))

    @classmethod
    @contextmanager
    def running(cls, folder: Path, *options: str, **settings: Any) -> Iterator[Self]:
        """Both agents, with a key of their own, on a free port; stopped afterwards.

        With ``tls=True`` each has a certificate.
        """
        tls = settings.pop("tls", False)
        key = settings.pop("key", None) or secrets.token_bytes(32)
        (folder / "key").write_text(key.hex())
        made = cls(folder, key, 0, options, **settings)
        with socket.create_server((made.addresses["pi1"], 0)) as probe:
            made.port = probe.getsockname()[1]
        if tls:
            made.certify()
        try:
            for name in made.addresses:
                made.start(name)
            yield made
        finally:
            for name in list(made.agents):
                made.stop(name)

    def certify(self) -> None:
        """Give every node, and the orchestrator, a certificate of one authority."""
        self.authority = Authority.made(self.folder / "certificates")
        # On loopback all connections come from one address, whichever they go to.
        for name, address in {**ADDRESSES, "orchestrator": "127.0.0.1"}.items():
            self.identities[name] = self.authority.identity(name, address, "127.0.0.1")

    @property
    def keys(self) -> Keys:
        """Proofs of the orchestrator."""
        return Keys.read(self.key_file, self.identities.get("orchestrator"))

    def arguments(self, name: str) -> list[str]:
        """What a command is told of its certificate."""
        known = self.identities.get(name)
        if known is None:
            return []
        return ["--certificate", str(known.certificate), "--authority", str(known.authority)]

    @property
    def key_file(self) -> Path:
        """The orchestrator's: one key for all, unless each node has a file ``key-NAME``."""
        own = self.folder / "commands"
        return own if own.exists() else self.folder / "key"

    @property
    def state_dir(self) -> Path:
        """The orchestrator's own state folder."""
        return self.folder / "orchestrator"

    def start(self, name: str) -> None:
        own = self.folder / f"key-{name}"
        words = [
            self.module,
            "agent",
            "--node",
            name,
            "--address",
            self.addresses[name],
            "--port",
            str(self.port),
            "--key-file",
            str(own if own.exists() else self.key_file),
            "--state-dir",
            str(self.folder / name),
            *self.arguments(name),
            *self.options,
        ]
        log = self.folder / f"{name}.log"
        if self.forked:
            self.agents[name] = warm.start(words, log, self._processor(name))
        else:
            python = str(self.pythons.get(name, sys.executable))
            pinned = ("taskset", "--cpu-list", str(self._processor(name)))
            with log.open("ab") as file:
                self.agents[name] = subprocess.Popen(
                    [*pinned, python, "-m", *words],
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        deadline = time.monotonic() + self.start_s
        while time.monotonic() < deadline:
            try:
                socket.create_connection((self.addresses[name], self.port), timeout=1).close()
                return
            except OSError:
                assert self.agents[name].poll() is None, self.log(name)
                time.sleep(0.1)
        raise AssertionError(self.log(name))

    def _processor(self, name: str) -> int:
        """One processor for each node where there are enough, as hosts have their own.

        Two processes whose threads spin on the same processors slow each other down tenfold.
        """
        processors = sorted(os.sched_getaffinity(0))
        return processors[list(self.addresses).index(name) % len(processors)]

    def stop(self, name: str) -> None:
        agent = self.agents.pop(name)
        os.killpg(agent.pid, signal.SIGKILL)
        agent.wait(10)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def stage_processes(self, name: str) -> list[int]:
        """Process ids of the stages under a node's fork server."""
        fork_server = _children(self.agents[name].pid)
        return [pid for parent in fork_server for pid in _children(parent)]

    def plan(self, **changes: Any) -> dict[str, Any]:
        """Return the plan of a small cell on both."""
        small = {
            **{"image_px": 32, "batch_size": 2, "splits": [[3], [17]], "repeats": 2, "window": 3},
            **{"warmup_batches": 1, "latency_batches": 3, "throughput_batches": 6},
            "workers": [
                {"host": name, "address": address, "port": self.port}
                for name, address in self.addresses.items()
            ],
        }
        return document(**{**small, **changes})


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]
