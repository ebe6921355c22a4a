"""Measure a link with the runtime's own transport: stages that compute nothing move tensors.

The first stage holds a payload and sends it on; the last one answers the orchestrator with its
first number. What remains of a run is the wire, the system calls and the backend's own work.
"""

from __future__ import annotations

import time
from typing import Any

from paretopipe_runtime import golden
from paretopipe_runtime.contract.factors import in_key
from paretopipe_runtime.contract.plan import Plan, read_plan
from paretopipe_runtime.orchestrator.drive import launched
from paretopipe_runtime.orchestrator.orders import Model, Part, orders_of
from paretopipe_runtime.orchestrator.pipeline import Deadlines, Expected, launch_s
from paretopipe_runtime.orchestrator.prepared import INPUT_BATCHES, INPUT_SEED
from paretopipe_runtime.orchestrator.record import (
    hosts_of,
    security,
    status_of,
    throttled,
    unproved,
)
from paretopipe_runtime.orchestrator.runs import Run, Work, shuffled
from paretopipe_runtime.wire.connect import Keys
from paretopipe_runtime.wire.frames import Tensor

FLOAT_NBYTES = 4
ANSWER = Tensor((1, 1), "float32", FLOAT_NBYTES)
GUESSED_RATE_MBIT = 900.0
#: What an ordinary plan has and the plan of a link does without.
_UNUSED = {
    "model": "mobilenetv2",
    "classes": 10,
    "image_px": 1,
    "batch_size": 1,
    "engine": "eager",
    "weights_seed": 0,
    "pairing": "",
    "throughput_batches": 1,
}


def work_of(document: dict[str, Any]) -> Work:
    """Return the samples of a link, one a repeat; each moves every size of payload.

    Raises
    ------
    ParetoPipeError
        For a plan that no launch could do without.
    """
    if len(document["workers"]) < 2:
        raise ValueError("workers has fewer than two hosts, and a link has two ends")
    if int(document["batches"]) < 2:
        raise ValueError(f"batches {document['batches']}, expected 2: a pace is between two")
    cuts = tuple(range(1, len(document["workers"])))
    latency = {"latency_batches": document["batches"], "splits": [list(cuts)]}
    plan = read_plan({**document, **_UNUSED, **latency})
    payloads = [int(nbytes) for nbytes in document["payload_bytes"]]
    if not payloads or any(nbytes < FLOAT_NBYTES or nbytes % FLOAT_NBYTES for nbytes in payloads):
        raise ValueError(f"payload_bytes {payloads}, expected multiples of {FLOAT_NBYTES}")
    warmup, batches = plan.warmup_batches, plan.latency_batches

    def run(repeat: int) -> Run:
        factors = _factors(plan, payloads, repeat)
        return Run(cuts, plan.workers, repeat, 0, warmup, batches, batches, factors)

    def measure(run: Run, keys: Keys, run_id: str) -> dict[str, Any]:
        return _measure(plan, payloads, run.repeat, keys, run_id)

    runs = [run(repeat) for repeat in range(1, plan.repeats + 1)]
    return Work(
        kind="link",
        document=document,
        runs=runs,
        measure=measure,
        about=lambda _: {"network": {"asked": plan.netem, "measured": plan.measured}},
        estimate_s={runs[0].split: sum(_guess_s(plan, nbytes) for nbytes in payloads)},
    )


def _guess_s(plan: Plan, nbytes: int) -> float:
    transfer_s = nbytes * 8e-6 / (plan.rate_mbit or GUESSED_RATE_MBIT)
    alone = plan.warmup_batches + plan.latency_batches
    return launch_s(plan) + alone * (transfer_s + plan.rtt_s) + plan.latency_batches * transfer_s


def _factors(plan: Plan, payloads: list[int], repeat: int) -> dict[str, Any]:
    factors = {
        "hosts": [worker.host for worker in plan.workers],
        **in_key(
            *(plan.variant, [worker.variant for worker in plan.workers], len(plan.workers)),
            only=lambda factor: factor.moves,
        ),
        "scenario": plan.scenario,
        "netem": plan.netem,
        "repeat": repeat,
        "payload_bytes": payloads,
        "warmup_batches": plan.warmup_batches,
        "batches": plan.latency_batches,
        "window": plan.window,
    }
    return {**factors, "hub": plan.hub.host} if plan.hub else factors


def _measure(
    plan: Plan, payloads: list[int], repeat: int, keys: Keys, run_id: str
) -> dict[str, Any]:
    """Move every size of payload, each in fresh processes, in a random order."""
    began = time.perf_counter()
    seen = {
        nbytes: _move(plan, nbytes, keys, f"{run_id}-{nbytes}")
        for nbytes in shuffled(plan, repeat, payloads)
    }
    checks = [moved["checks"] for moved in seen.values()]
    return {
        "status": status_of({reason: any(c[reason] for c in checks) for reason in checks[0]}),
        "security": security(plan),
        "transfers": [
            {
                "payload_bytes": nbytes,
                "latency_s": seen[nbytes]["latency_s"],
                "pace_s": seen[nbytes]["pace_s"],
                "cpu_s": seen[nbytes]["cpu_s"],
            }
            for nbytes in payloads
        ],
        "hosts": seen[payloads[-1]]["hosts"],
        "wall_s": time.perf_counter() - began,
    }


def _move(plan: Plan, nbytes: int, keys: Keys, run_id: str) -> dict[str, Any]:
    payload = Tensor((1, nbytes // FLOAT_NBYTES), "float32", nbytes)
    deadlines = Deadlines.of(plan, [nbytes] * len(plan.workers))
    numbers = golden.random_batches(payload.shape, INPUT_BATCHES, INPUT_SEED)
    expected = Expected(ANSWER, tuple(batch[:, :1] for batch in numbers), tolerance=0.0)
    parts = [Part(0, 0, payload, payload)] * (len(plan.workers) - 1)
    parts += [Part(0, 0, payload, ANSWER)]
    orders = orders_of(plan, plan.workers, parts, Model(), run_id, deadlines)
    with launched(orders, plan, keys, expected, deadlines) as driver:
        driver.one_in_flight(plan.warmup_batches)
        alone = driver.one_in_flight(plan.latency_batches)
        full = driver.saturated(plan.latency_batches, plan.window)
        reports = driver.finish()
        proof = driver.proof()
    batches = plan.warmup_batches + 2 * plan.latency_batches
    moved = [report["payload_sent"] for report in reports[:-1]]
    moved += [report["payload_received"] for report in reports[1:]]
    completions = full["completion_s"]
    hosts = hosts_of(plan.workers, driver.ready, reports)
    return {
        "latency_s": alone["batch_s"],
        "pace_s": (completions[-1] - completions[0]) / (len(completions) - 1),
        "cpu_s": [report["cpu_s"] / batches for report in reports],  # of each stage's process
        "checks": {
            **unproved(proof, expected.tolerance, batches),
            "bytes_mismatch": any(total != nbytes * batches for total in moved),
            "throttled": throttled(hosts),
        },
        "hosts": hosts,
    }
