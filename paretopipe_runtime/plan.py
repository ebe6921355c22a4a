"""The plan of one cell: what to run, in which order, under which key. Data in, data out.

A *cell* is model x backend x engine x pairing x scenario; a *run* is one fresh launch for one split
and one repeat, and the replicate of every statistic.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from dataclasses import dataclass
from typing import Any

from paretopipe_runtime.engines import ENGINES
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models import model_info
from paretopipe_runtime.partition import all_splits, validate_cuts

SCHEMA_VERSION = 1
BACKENDS = ("socket", "rpc", "rpc_hub")
ALLOCATORS = ("tuned", "default")
#: Most seconds that one phase of a run spends on the wire before its batches are cut down.
TRANSFER_BUDGET_S = 60.0
#: Ethernet frame bytes for each byte of TCP payload (1514 of 1448, time stamps on).
WIRE_PER_PAYLOAD = 1514 / 1448
_RATE = re.compile(r"(\d+(?:\.\d+)?)(bit|kbit|mbit|gbit)")
_RATE_UNITS = {"bit": 1e-6, "kbit": 1e-3, "mbit": 1.0, "gbit": 1e3}
_DELAY = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s)")
_DELAY_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True)
class Worker:
    """A host that runs a stage, where its agent listens, and how its stages get their memory."""

    host: str
    address: str
    port: int
    allocator: str = "tuned"


@dataclass(frozen=True)
class Plan:
    """One cell's plan; `document` is the JSON it was read from, kept for provenance.

    `hub` is where every tensor passes through, None where the stages are chained.
    """

    document: dict[str, Any]
    cell_id: str
    model: str
    classes: int
    image_px: int
    batch_size: int
    backend: str
    engine: str
    pairing: str
    scenario: str
    netem: dict[str, Any] | None
    measured: dict[str, Any] | None
    workers: tuple[Worker, ...]
    hub: Worker | None
    splits: tuple[tuple[int, ...], ...]
    repeats: int
    seed: int
    warmup_batches: int
    latency_batches: int
    throughput_batches: int
    window: int
    weights_seed: int

    @property
    def asked_rate_mbit(self) -> float | None:
        """The rate that the scenario asks for; None where it does not limit it."""
        return _parse(_RATE, _RATE_UNITS, self.netem.get("rate")) if self.netem else None

    @property
    def rate_mbit(self) -> float | None:
        """The link's rate: as measured, else as asked for, else None (unshaped, unmeasured)."""
        measured = self.measured and self.measured.get("rate_mbit")
        return float(measured) if measured else self.asked_rate_mbit

    @property
    def rtt_s(self) -> float:
        """The round-trip time in seconds: as measured, else as asked for, else 0."""
        if self.measured and self.measured.get("rtt_ms"):
            return float(self.measured["rtt_ms"]) / 1000
        asked = _parse(_DELAY, _DELAY_UNITS, self.netem.get("delay")) if self.netem else None
        return asked or 0.0

    def transfer_s(self, nbytes: int) -> float:
        """Seconds that `nbytes` of payload take at the asked rate; 0 where none is asked for."""
        rate = self.asked_rate_mbit
        return nbytes * WIRE_PER_PAYLOAD * 8e-6 / rate if rate else 0.0


@dataclass(frozen=True)
class Run:
    """One fresh launch: a split, a repeat, and how many batches each phase has."""

    cuts: tuple[int, ...]
    repeat: int
    order: int
    warmup_batches: int
    latency_batches: int
    throughput_batches: int
    factors: dict[str, Any]

    @property
    def split(self) -> str:
        """The paper's name of the split: ``P3``; ``P3-9`` with three stages."""
        return split_name(self.cuts)

    @property
    def key(self) -> str:
        """16 hex digits over every factor: the identity of a measurement."""
        return hashlib.sha256(canonical(self.factors)).hexdigest()[:16]


def split_name(cuts: tuple[int, ...]) -> str:
    """Return ``P`` and the cut points; ``P0`` stands for a model that is not cut."""
    return "P" + ("-".join(map(str, cuts)) or "0")


def canonical(value: Any) -> bytes:
    """Return the one JSON form that digests are taken over."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def read_plan(document: dict[str, Any]) -> Plan:
    """Check a plan and return it.

    Raises
    ------
    ParetoPipeError
        ``E_PLAN``, ``E_MODEL``, ``E_SPLIT``, ``E_BACKEND``: what was seen, what was expected.
    """
    try:
        return _read(document)
    except (KeyError, TypeError, ValueError) as error:
        raise ParetoPipeError(
            "E_PLAN",
            f"the plan is malformed: {type(error).__name__} {error} — it is written by "
            "playbooks/measure.yml",
        ) from error


def expand(plan: Plan, hop_bytes: dict[tuple[int, ...], list[int]]) -> list[Run]:
    """Return every run of `plan` in the order to measure them.

    Nothing here depends on what was measured, so that an interrupted sweep finds its runs again.

    Randomised complete blocks: block r has every split once, in an order seeded by plan and block,
    so that drift does not pass for a difference between splits.

    Parameters
    ----------
    plan : Plan
    hop_bytes : dict
        For each split the payload bytes that one batch moves over each hop.
    """
    runs: list[Run] = []
    for repeat in range(1, plan.repeats + 1):
        block = list(plan.splits)
        random.Random(f"{plan.seed}|{plan.cell_id}|{repeat}").shuffle(block)
        for cuts in block:
            slowest = max(map(plan.transfer_s, hop_bytes[cuts]))
            runs.append(_run(plan, cuts, repeat, len(runs), slowest))
    return runs


def _run(plan: Plan, cuts: tuple[int, ...], repeat: int, order: int, transfer_s: float) -> Run:
    affordable = TRANSFER_BUDGET_S / transfer_s if transfer_s else float("inf")
    warmup = max(1, int(min(plan.warmup_batches, affordable)))
    latency = max(min(2, plan.latency_batches), int(min(plan.latency_batches, affordable)))
    least = min(plan.window + 2, plan.throughput_batches)
    throughput = max(least, int(min(plan.throughput_batches, affordable)))
    factors = {
        "model": plan.model,
        "classes": plan.classes,
        "image_px": plan.image_px,
        "batch_size": plan.batch_size,
        "backend": plan.backend,
        "engine": plan.engine,
        "pairing": plan.pairing,
        "hosts": [worker.host for worker in plan.workers],
        "allocators": [worker.allocator for worker in plan.workers],
        "scenario": plan.scenario,
        "netem": plan.netem,
        "cuts": list(cuts),
        "split": split_name(cuts),
        "repeat": repeat,
        "warmup_batches": warmup,
        "latency_batches": latency,
        "throughput_batches": throughput,
        "window": plan.window,
        "weights_seed": plan.weights_seed,
        "input": "resident",
    }
    if plan.hub:
        factors["hub"] = plan.hub.host
    return Run(cuts, repeat, order, warmup, latency, throughput, factors)


def _read(document: dict[str, Any]) -> Plan:
    if document["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema_version {document['schema_version']}, this is {SCHEMA_VERSION}")
    model = model_info(document["model"])
    for name, known in (("backend", BACKENDS), ("engine", tuple(ENGINES))):
        _check_known(name, document[name], known)
    workers = tuple(map(_worker, document["workers"]))
    hub = _worker(document["hub"]) if document["backend"] == "rpc_hub" else None
    if document["splits"] == "all":
        splits = list(all_splits(document["model"]))
    else:
        splits = [tuple(int(cut) for cut in cuts) for cuts in document["splits"]]
    for cuts in splits:
        validate_cuts(model.name, cuts)
        if len(cuts) != len(workers) - 1:
            raise ParetoPipeError(
                "E_SPLIT",
                f"split {split_name(cuts)} makes {len(cuts) + 1} stages, pairing "
                f"{document['pairing']} has {len(workers)} hosts — give one cut point fewer",
            )
    counts = (
        "image_px",
        "batch_size",
        "repeats",
        "latency_batches",
        "throughput_batches",
        "window",
        "classes",
    )
    for name in counts:
        if int(document[name]) < 1:
            raise ParetoPipeError("E_PLAN", f"{name} is {document[name]}, expected 1 or more")
    scenario = document["scenario"]
    return Plan(
        document=document,
        cell_id=document["cell_id"],
        model=model.name,
        classes=int(document["classes"]),
        image_px=int(document["image_px"]),
        batch_size=int(document["batch_size"]),
        backend=document["backend"],
        engine=document["engine"],
        pairing=document["pairing"],
        scenario=scenario["name"],
        netem=scenario.get("netem") or None,
        measured=scenario.get("measured") or None,
        workers=workers,
        hub=hub,
        splits=tuple(dict.fromkeys(splits)),
        repeats=int(document["repeats"]),
        seed=int(document["seed"]),
        warmup_batches=int(document["warmup_batches"]),
        latency_batches=int(document["latency_batches"]),
        throughput_batches=int(document["throughput_batches"]),
        window=int(document["window"]),
        weights_seed=int(document["weights_seed"]),
    )


def _worker(fields: dict[str, Any]) -> Worker:
    allocator = fields.get("allocator", "tuned")
    _check_known("allocator", allocator, ALLOCATORS)
    return Worker(fields["host"], fields["address"], int(fields["port"]), allocator)


def _check_known(kind: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise ParetoPipeError(
            f"E_{kind.upper()}",
            f"unknown {kind} {name!r}: known are {', '.join(known)} — choose one with -e {kind}=…",
        )


def _parse(pattern: re.Pattern[str], units: dict[str, float], text: Any) -> float | None:
    match = pattern.fullmatch(str(text)) if text else None
    return float(match[1]) * units[match[2]] if match else None
