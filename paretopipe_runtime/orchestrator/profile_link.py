"""Profile of a link: stages without blocks move payloads over the runtime's own transport."""

from __future__ import annotations

import time
from typing import Any

from paretopipe_runtime import golden
from paretopipe_runtime.contract.chain import INPUT_BATCHES, Chain, read_chain
from paretopipe_runtime.contract.factors import in_key
from paretopipe_runtime.contract.measures import pace_s
from paretopipe_runtime.orchestrator.disturbed import disturbances
from paretopipe_runtime.orchestrator.drive import launched
from paretopipe_runtime.orchestrator.duration import launch_s
from paretopipe_runtime.orchestrator.orders import NOTHING, Part, orders_of
from paretopipe_runtime.orchestrator.pipeline import Deadlines, Expected
from paretopipe_runtime.orchestrator.prepared import INPUT_SEED
from paretopipe_runtime.orchestrator.record import (
    hosts_of,
    security,
    status_of,
    unproved,
)
from paretopipe_runtime.orchestrator.runs import Run, Work, shuffled
from paretopipe_runtime.wire.frames import Tensor
from paretopipe_runtime.wire.keys import Keys

FLOAT_NBYTES = 4
ANSWER = Tensor((1, 1), "float32", FLOAT_NBYTES)
GUESSED_RATE_MBIT = 900.0


def work_of(document: dict[str, Any]) -> Work:
    """Return the link's work: each repeat moves every payload size.

    Raises
    ------
    ValueError, ParetoPipeError
        For an unusable plan.
    """
    if len(document["workers"]) < 2:
        raise ValueError("workers has fewer than two hosts, and a link has two ends")
    if int(document["batches"]) < 2:
        raise ValueError(f"batches {document['batches']}, expected 2: a pace is between two")
    chain = read_chain({"engine": NOTHING.engine, **document})
    warmup, batches, window = (
        int(document[count]) for count in ("warmup_batches", "batches", "window")
    )
    payloads = [int(nbytes) for nbytes in document["payload_bytes"]]
    if not payloads or any(nbytes < FLOAT_NBYTES or nbytes % FLOAT_NBYTES for nbytes in payloads):
        raise ValueError(f"payload_bytes {payloads}, expected multiples of {FLOAT_NBYTES}")
    seed, cell_id = int(document["seed"]), document["cell_id"]

    def run(repeat: int) -> Run:
        factors = {
            "hosts": [worker.host for worker in chain.workers],
            **in_key(
                *(chain.variant, [worker.variant for worker in chain.workers], len(chain.workers)),
                only=lambda factor: factor.moves,
            ),
            "scenario": chain.scenario,
            **chain.asked,
            "repeat": repeat,
            "payload_bytes": payloads,
            "warmup_batches": warmup,
            "batches": batches,
            "window": window,
            **({"hub": chain.hub.host} if chain.hub else {}),
        }
        return Run((), chain.workers, repeat, 0, warmup, batches, batches, factors, window=window)

    def measure(run: Run, keys: Keys, run_id: str) -> dict[str, Any]:
        order = shuffled(seed, cell_id, run.repeat, payloads)
        return _measure(chain, run, order, keys, run_id)

    runs = [run(repeat) for repeat in range(1, int(document["repeats"]) + 1)]
    alone = warmup + batches
    transfers_s = [
        nbytes * 8e-6 / (chain.first.rate_mbit or GUESSED_RATE_MBIT) for nbytes in payloads
    ]
    guess_s = sum(
        launch_s(chain) + alone * (transfer_s + chain.rtt_s) + batches * transfer_s
        for transfer_s in transfers_s
    )
    return Work(
        kind="link",
        document=document,
        runs=runs,
        measure=measure,
        about=lambda _: {"network": chain.network_facts},
        estimate_s={"link": guess_s},
        hub=chain.hub,
    )


def _measure(chain: Chain, run: Run, order: list[int], keys: Keys, run_id: str) -> dict[str, Any]:
    """Move every payload size, each in fresh processes."""
    began = time.perf_counter()
    seen = {nbytes: _move(chain, run, nbytes, keys, f"{run_id}-{nbytes}") for nbytes in order}
    checks = [moved["checks"] for moved in seen.values()]
    payloads = run.factors["payload_bytes"]
    return {
        "status": status_of({reason: any(c[reason] for c in checks) for reason in checks[0]}),
        "security": security(chain),
        "transfers": [
            {
                "payload_bytes": nbytes,
                **{key: seen[nbytes][key] for key in ("latency_s", "pace_s", "cpu_s")},
            }
            for nbytes in payloads
        ],
        "hosts": seen[payloads[-1]]["hosts"],
        "wall_s": time.perf_counter() - began,
    }


def _move(chain: Chain, run: Run, nbytes: int, keys: Keys, run_id: str) -> dict[str, Any]:
    payload = Tensor((1, nbytes // FLOAT_NBYTES), "float32", nbytes)
    deadlines = Deadlines.of(chain, [nbytes] * len(chain.workers), run.window)
    numbers = golden.random_batches(payload.shape, INPUT_BATCHES, INPUT_SEED)
    expected = Expected(ANSWER, tuple(batch[:, :1] for batch in numbers), tolerance=0.0)
    parts = [Part(0, 0, payload, payload)] * (len(chain.workers) - 1)
    parts += [Part(0, 0, payload, ANSWER)]
    orders = orders_of(chain, parts, run_id, deadlines)
    with launched(orders, chain, keys, expected, deadlines) as driver:
        driver.one_in_flight(run.warmup_batches)
        alone = driver.one_in_flight(run.latency_batches)
        full = driver.saturated(run.throughput_batches, run.window)
        reports = driver.finish()
        proof = driver.proof()
    batches = run.warmup_batches + run.latency_batches + run.throughput_batches
    moved = [report["payload_sent"] for report in reports[:-1]]
    moved += [report["payload_received"] for report in reports[1:]]
    hosts = hosts_of(chain.workers, driver.ready, reports)
    return {
        "latency_s": alone["batch_s"],
        "pace_s": pace_s(full["completion_s"], run.window),
        "cpu_s": [report["cpu_s"] / batches for report in reports],  # of each stage's process
        "checks": {
            **unproved(proof, expected.tolerance, batches),
            "bytes_mismatch": any(total != nbytes * batches for total in moved),
            **disturbances(hosts),
        },
        "hosts": hosts,
    }
