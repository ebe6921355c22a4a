"""The hosts of a plan and the network of every hop."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

from paretopipe_runtime.contract import replicas
from paretopipe_runtime.contract.factors import (
    DEVICE,
    OF_CELL,
    OF_WORKER,
    Factor,
    Variant,
    check_device,
)
from paretopipe_runtime.contract.network import Network
from paretopipe_runtime.errors import ParetoPipeError

Address = tuple[str, int]
#: Different inputs of a run, used in turn. A batch mistaken for another is seen unless they lie a
#: multiple of this apart: a prime that divides neither a window nor a number of buffers (2; 3 on a
#: GPU).
INPUT_BATCHES = 5
#: No pipeline is taken to be faster: a batch of a few bytes would have thousands in flight.
LEAST_PACE_S = 0.01


class Onward(NamedTuple):
    """A host of the next stage, and the relay to it, if there is one."""

    host: str
    address: str
    port: int
    via: Address | None = None


@dataclass(frozen=True)
class Worker:
    """A stage's host, its agent's address, and its own factors.

    `replicas`: equal hosts that take the stage's batches in turn with it.
    """

    host: str
    address: str
    port: int
    variant: Variant
    transport: str = "plain"
    replicas: tuple[Worker, ...] = ()

    @property
    def place(self) -> str:
        """The stage's host, or its hosts: ``pi2+pi3``."""
        return replicas.joined(worker.host for worker in self.each)

    @property
    def each(self) -> tuple[Worker, ...]:
        """Every host of the stage, by itself."""
        return (replace(self, replicas=()), *self.replicas)

    @property
    def allocator(self) -> str:
        return str(self.variant["allocator"])

    @property
    def device(self) -> str:
        return str(self.variant["device"])


@dataclass(frozen=True)
class Relay:
    """User-space shaping of `host` where hosts are processes; `ways` has an address per worker.

    `onward`: only of what it sends to the next host of the chain, as a later hop is shaped.
    """

    host: str
    ways: dict[str, Address]
    onward: bool = False

    def via(self, to: Worker, after: Worker | None) -> Address | None:
        """Return the address to reach a worker by; None if unshaped."""
        sends = after is not None and self.host == after.host
        shaped = sends or (self.host == to.host and not self.onward)
        return self.ways[to.host] if shaped else None


@dataclass(frozen=True)
class Chain:
    """A worker per stage, in order; every tensor passes through `hub` if there is one.

    `networks` has one entry per hop, `variant` the factors common to all hosts.
    """

    workers: tuple[Worker, ...]
    variant: Variant
    hub: Worker | None = None
    scenario: str = ""
    networks: tuple[Network, ...] = (Network(),)
    relay: Relay | None = None

    @property
    def hosts(self) -> tuple[Worker, ...]:
        """The workers of all stages, replicas by themselves."""
        return every(self.workers)

    @property
    def first(self) -> Network:
        """The first hop's network."""
        return self.networks[0]

    @property
    def shaped(self) -> bool:
        """True if a scenario shapes any hop."""
        return any(network.netem for network in self.networks)

    @property
    def asked(self) -> dict[str, Any]:
        """Conditions asked of the hops, as a run's factors: later ones only where shaped."""
        later = [network.netem for network in self.networks[1:]]
        return {"netem": self.first.netem, **({"later_netem": later} if any(later) else {})}

    @property
    def network_facts(self) -> dict[str, Any]:
        """A record's facts about the network: ``later_hops`` has the second's and on."""
        later = [network.facts for network in self.networks[1:]]
        return {**self.first.facts, **({"later_hops": later} if later else {})}

    @property
    def rtt_s(self) -> float:
        """The round-trip time over all hops."""
        return sum(network.rtt_s for network in self.networks)

    def transfers_s(self, hop_bytes: Sequence[int]) -> list[float]:
        """Return each hop's seconds at its asked rate; the last returns the predictions.

        They reach the first host as its scenario allows at worst, in both directions.
        """
        passed = (*self.networks[: len(hop_bytes) - 1], self.first)
        return [on.transfer_s(nbytes) for on, nbytes in zip(passed, hop_bytes, strict=True)]

    def window(self, least: int, hop_bytes: Sequence[int]) -> int:
        """Return `filling_window` of a split at the asked rates and delays."""
        slowest_s = max(self.transfers_s(hop_bytes)[:-1], default=0.0)
        # A request goes back over the first hop; later ones are passed one way.
        later_s = sum(network.asked_delay_s for network in self.networks[1:])
        delay_s = self.first.asked_rtt_s + later_s
        # The same for runs without the stage that has them: a cell's runs are alike.
        turns = max(len(worker.each) for worker in self.workers)
        return filling_window(least, len(hop_bytes), slowest_s, delay_s, turns)

    @property
    def backend(self) -> str:
        return str(self.variant["backend"])

    @property
    def transport(self) -> str:
        """``plain`` or ``tls``."""
        return str(self.variant["transport"])

    def at(self, stage: int, replica: int = 0) -> Worker:
        """Return a stage's worker; the hub for a negative stage."""
        worker = self.workers[stage] if stage >= 0 else self.hub
        assert worker is not None
        return worker.each[replica]

    def via(self, to: Worker, after: Worker | None = None) -> Address | None:
        """Return the relay's address for a worker, from the one before or the orchestrator."""
        return self.relay.via(to, after) if self.relay else None

    def onward(self, stage: int, stages: int) -> tuple[Onward, ...]:
        """Return the hosts of the next stage; none after the last."""
        if stage + 1 == stages:
            return ()
        after = self.workers[stage] if stage >= 0 else None
        return tuple(
            Onward(to.host, to.address, to.port, self.via(to, after))
            for to in self.workers[stage + 1].each
        )

    def previous(self, stage: int) -> tuple[str, ...]:
        """Return the names of the hosts of the stage before; none before the first."""
        return tuple(one.host for one in self.workers[stage - 1].each) if stage > 0 else ()


def every(workers: Iterable[Worker]) -> tuple[Worker, ...]:
    """Return the workers of stages, replicas by themselves."""
    return tuple(one for worker in workers for one in worker.each)


def filling_window(
    least: int, stages: int, transfer_s: float, delay_s: float, replicas: int = 1
) -> int:
    """Return the batches in flight, `least` or more, that keep the slowest hop busy.

    One at each host and hop, and as many as are under way while one is sent. Without a rate
    (`transfer_s` 0) `least` has to do, and one for each further replica of a stage; replicas get
    equally many.
    """
    more = replicas - 1
    needed = least + more
    if transfer_s:
        under_way = math.ceil(delay_s / max(transfer_s, LEAST_PACE_S))
        needed = max(needed, 2 * (stages + more) - 1 + under_way)
    needed += -needed % replicas
    # With a multiple, the answer of a window before would pass for the right one.
    return needed + replicas * (needed % INPUT_BATCHES == 0)


def read_chain(document: dict[str, Any]) -> Chain:
    """Read and check a plan's chain; raises as `plan.read_plan`."""
    variant = _variant(OF_CELL, document)
    _check_encryption(variant)
    workers = tuple(_place(fields, variant) for fields in document["workers"])
    for worker in every(workers):
        check_device(variant["engine"], worker.device, worker.host)
    places = [worker.place for worker in workers]
    replicas.check_places(str(document.get("pairing")), places, variant["backend"])
    hub = _worker(document["hub"], variant) if variant["backend"] == "rpc_hub" else None
    scenario = document["scenario"]
    return Chain(
        *(workers, variant, hub, scenario["name"]),
        *(_networks(scenario, workers), _relay(document, workers)),
    )


def under(
    document: dict[str, Any],
    measured: Mapping[str, Mapping[str, Any]],
    relay: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a plan with what its hops' networks measured, and its relay, if it has one.

    Parameters
    ----------
    measured
        By the sender and the receiver.
    """
    hosts = [worker["host"] for worker in document["workers"]]  # of replicas the first
    seen = [measured.get(host, {}).get(to) for host, to in pairwise(hosts)] or [None]
    scenario = document.get("scenario", {})  # a profile has none
    known: dict[str, Any] = {"measured": seen[0], **({"relay": relay} if relay else {})}
    if hops := scenario.get("later_hops"):
        known["later_hops"] = [
            {**hop, "measured": found} for hop, found in zip(hops, seen[1:], strict=True)
        ]
    return {**document, "scenario": {**scenario, **known}}


def _networks(scenario: dict[str, Any], workers: tuple[Worker, ...]) -> tuple[Network, ...]:
    """Return every hop's network; plans without ``later_hops`` set the first hop's only."""
    later = scenario.get("later_hops") or [{} for _ in workers[2:]]
    if len(later) != len(workers[2:]):
        raise ValueError(f"{len(later)} later_hops, expected {len(workers[2:])}")
    said = ((hop.get("netem") or None, hop.get("measured") or None) for hop in (scenario, *later))
    return tuple(Network(*hop) for hop in said)


def _relay(document: dict[str, Any], workers: tuple[Worker, ...]) -> Relay | None:
    fields = document["scenario"].get("relay")
    if fields is None:
        return None
    if document["backend"] != "socket":
        raise ParetoPipeError(
            "E_BACKEND",
            f"backend {document['backend']} through a relay: PyTorch RPC connects on its own, past "
            "it — choose -e backend=socket, or an unshaped scenario",
        )
    ways = {name: (str(address), int(port)) for name, (address, port) in fields["ways"].items()}
    relay = Relay(fields["host"], ways, onward=not document["scenario"].get("netem"))
    for after, to in zip((None, *workers), workers, strict=False):
        for one in to.each:
            relay.via(one, after)  # KeyError without a way
    return relay


def _variant(factors: Sequence[Factor], fields: Mapping[str, Any]) -> Variant:
    # A cell's always-named factors are mandatory; older plans' workers have no allocator.
    said = {
        factor.option: fields[factor.option]
        if factor.always and not factor.per_host
        else fields.get(factor.option, factor.default)
        for factor in factors
    }
    return Variant({factor.option: factor.check(said[factor.option]) for factor in factors})


def _check_encryption(variant: Variant) -> None:
    transport, backend = variant["transport"], variant["backend"]
    if transport == "tls" and backend != "socket":
        raise ParetoPipeError(
            "E_TRANSPORT",
            f"transport tls with backend {backend}: PyTorch RPC cannot be encrypted, backend "
            "socket can — choose -e backend=socket, or -e transport=plain",
        )


def _place(fields: dict[str, Any], variant: Variant) -> Worker:
    """Return a stage's worker with its replicas, which must be its equals."""
    worker, *others = (_worker(one, variant) for one in replicas.with_replicas(fields))
    for other in others:
        if other.variant != worker.variant:
            raise ParetoPipeError(
                "E_REPLICAS",
                f"{other.host} has {_words(other.variant)} and {worker.host} "
                f"{_words(worker.variant)}, expected equal hosts in one place — set both alike in "
                "the inventory",
            )
    return replace(worker, replicas=tuple(others))


def _words(variant: Variant) -> str:
    return ", ".join(f"{name} {value}" for name, value in variant.items())


def _worker(fields: Mapping[str, Any], variant: Variant) -> Worker:
    host, device = fields["host"], str(fields.get("device", DEVICE.default))
    if not DEVICE.knows(device):
        raise ParetoPipeError(
            "E_DEVICE",
            f"unknown device {device!r} for {host}: known are cpu, cuda and cuda:N — set "
            "worker_device in the inventory",
        )
    own, transport = _variant(OF_WORKER, fields), variant["transport"]
    return Worker(host, fields["address"], int(fields["port"]), own, transport)
