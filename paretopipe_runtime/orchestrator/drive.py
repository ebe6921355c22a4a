"""Drive one run: launch a fresh stage on every worker, time the phases, verify the outputs.

Durations are taken on one host's monotonic clock each: no time stamp crosses hosts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from paretopipe_runtime.contract.chain import Chain
from paretopipe_runtime.contract.codecs import CODECS
from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.contract.plan import Plan
from paretopipe_runtime.contract.splits import codec_of
from paretopipe_runtime.environment import swapped_pages, swapped_since
from paretopipe_runtime.orchestrator.orders import orders_of, parts_of
from paretopipe_runtime.orchestrator.pipeline import Deadlines, Driver, Expected, launch
from paretopipe_runtime.orchestrator.postmortem import explained
from paretopipe_runtime.orchestrator.prepared import Prepared
from paretopipe_runtime.orchestrator.runs import Run
from paretopipe_runtime.wire.keys import Keys
from paretopipe_runtime.worker.order import StageOrder


@contextmanager
def launched(
    orders: list[StageOrder], chain: Chain, keys: Keys, expected: Expected, deadlines: Deadlines
) -> Iterator[Driver]:
    """Launch the stages and yield their driver; leave nothing running on any worker.

    Raises
    ------
    ParetoPipeError
        For any failure, here or in a stage.
    """
    workers = [chain.at(order.stage, order.replica) for order in orders]
    with explained(workers, orders[0].run_id, keys, chain.rtt_s) as boots:
        pipeline = launch(orders, chain, keys, boots)
        try:
            yield Driver(pipeline, expected, deadlines)
        finally:
            for channel in pipeline.channels:
                channel.close()


def drive(plan: Plan, run: Run, prepared: Prepared, keys: Keys, run_id: str) -> dict[str, Any]:
    """Measure `run`; return its times, the hosts' reports and the output proof.

    Raises
    ------
    ParetoPipeError
        As `launched`.
    """
    chain, workload = plan.chain, plan.workload
    deadlines = Deadlines.of(chain, prepared.hop_bytes(run.cuts), run.window)
    parts = parts_of(prepared, run.cuts)
    codec = CODECS[codec_of(run.cuts)]
    orders = orders_of(
        *(chain, parts, run_id, deadlines, workload, prepared.manifest),
        codec=codec.name,
        proof_batches=run.warmup_batches,
    )
    tolerance = ENGINES[workload.engine].tolerance
    expected = Expected(prepared.boundaries[-1], prepared.reference, tolerance, codec.tolerance)
    began, swapped = time.perf_counter(), swapped_pages()
    with launched(orders, chain, keys, expected, deadlines) as driver:
        launched_at = time.perf_counter()
        phases: dict[str, Any] = {"warmup": driver.one_in_flight(run.warmup_batches)}
        warm = time.perf_counter()
        phases["latency"] = driver.one_in_flight(run.latency_batches)
        timed = time.perf_counter()
        phases["throughput"] = driver.saturated(run.throughput_batches, run.window)
        saturated = time.perf_counter()
        reports = driver.finish()
        proof = driver.proof()
    ended = time.perf_counter()
    return {
        **phases,
        "reports": reports,
        "ready": driver.ready,
        "proof": proof,
        "phases_s": {
            "launch": launched_at - began,
            "warmup": warm - launched_at,
            "latency": timed - warm,
            "throughput": saturated - timed,
            "teardown": ended - saturated,
        },
        "wall_s": ended - began,
        "swapped": swapped_since(swapped),  # this host
    }
