"""The workers' own scatter before a sweep, as `worker.noise` measures it.

It is kept beside the estimates until the next preparation, and written into every cell's records.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paretopipe_runtime import forked
from paretopipe_runtime.contract.chain import Chain
from paretopipe_runtime.files import offer_json
from paretopipe_runtime.orchestrator import postmortem
from paretopipe_runtime.orchestrator.orders import Part, orders_of
from paretopipe_runtime.orchestrator.pipeline import CONNECT_S, Deadlines
from paretopipe_runtime.wire.connect import open_channel
from paretopipe_runtime.wire.frames import Tensor
from paretopipe_runtime.wire.keys import Keys

NUMBER = Tensor((1, 1), "float32", 4)

Noise = dict[str, Any]  # `at`, `seconds`, and `hosts` with each one's figures; empty: not measured


def measure(chains: Iterable[Chain], seconds: float, keys: Keys) -> Noise:
    """Time the same work on all machines at once; hosts of one machine share its figures.

    Raises
    ------
    ParetoPipeError
        For any host that does not answer.
    """
    alone = {
        worker.host: replace(chain, workers=(worker,), hub=None)
        for chain in chains
        for worker in chain.hosts
    }
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    hosts = forked.call(lambda: _measure(alone, seconds, keys))
    return {"at": at, "seconds": seconds, "hosts": hosts}


def scatters(noise: Noise) -> dict[str, float]:
    return {host: float(figures["scatter"]) for host, figures in noise.get("hosts", {}).items()}


def worst(noise: Noise) -> float:
    """Return the largest scatter of any host, 0 if not measured."""
    return max(scatters(noise).values(), default=0.0)


def save(state_dir: Path, noise: Noise) -> None:
    offer_json(_path(state_dir), noise)


def load(state_dir: Path, hosts: Iterable[str]) -> Noise:
    """Return what is kept of `hosts`, empty if that is nothing."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        noise = json.loads(_path(state_dir).read_text())
        known = {host: noise["hosts"][host] for host in hosts if host in noise["hosts"]}
        return {**noise, "hosts": known} if known else {}
    return {}


def _path(state_dir: Path) -> Path:
    return state_dir / "estimates" / "noise.json"


def _measure(alone: dict[str, Chain], seconds: float, keys: Keys) -> dict[str, Any]:
    with ThreadPoolExecutor(len(alone)) as pool:
        boots = pool.map(lambda chain: _boot(chain, keys), alone.values())
        machines = dict(zip(alone, boots, strict=True))
        first = {machine: alone[host] for host, machine in reversed(machines.items())}
        found = pool.map(lambda chain: _ask(chain, seconds, keys), first.values())
        seen = dict(zip(first, found, strict=True))
    return {host: seen[machine] for host, machine in machines.items()}


def _boot(chain: Chain, keys: Keys) -> str:
    """Return the machine's boot id, or the host where its kernel does not say."""
    (worker,) = chain.workers
    _, boot_id = postmortem.end(worker, _run_id(), keys, CONNECT_S)
    return boot_id or worker.host


def _ask(chain: Chain, seconds: float, keys: Keys) -> dict[str, Any]:
    (worker,) = chain.workers
    run_id, part = _run_id(), Part(0, 0, NUMBER, NUMBER)
    (order,) = orders_of(chain, [part], run_id, Deadlines.of(chain, [NUMBER.nbytes]))
    order = replace(order, noise_s=seconds)
    with postmortem.explained([worker], run_id, keys, chain.rtt_s) as boots:
        channel, agent = open_channel(
            *(worker.host, (worker.address, worker.port), keys),
            {"role": "run", "run_id": run_id, "stage": order.stage},
            transport=worker.transport,
            timeout=CONNECT_S,
        )
        boots[worker.host] = agent.get("boot_id")
        with contextlib.closing(channel):
            channel.send_message(order.to_message(), timeout=CONNECT_S)
            noise: dict[str, Any] = channel.receive_message(CONNECT_S + 3 * seconds)["noise"]
    return noise


def _run_id() -> str:
    return f"noise-{secrets.token_hex(4)}"
