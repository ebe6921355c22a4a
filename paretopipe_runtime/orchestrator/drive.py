"""Drive one run: launch a fresh stage on every worker, push batches through, read the clock.

In scope: one launch, three phases, the end-to-end times, and the proof that the outputs are right.
Out of scope: which runs there are, what becomes of the result, and anything that needs torch.

Every end-to-end time is a difference on this process's monotonic clock. Stages report durations on
theirs. No time stamp crosses a host.
"""

from __future__ import annotations

import time
from typing import Any

from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.contract.plan import Plan, Worker
from paretopipe_runtime.contract.splits import stage_ranges
from paretopipe_runtime.orchestrator.pipeline import Deadlines, Driver, Expected, finish, launch
from paretopipe_runtime.orchestrator.postmortem import Boots, explained
from paretopipe_runtime.orchestrator.prepared import INPUT_BATCHES, INPUT_SEED, Prepared
from paretopipe_runtime.orchestrator.runs import Run
from paretopipe_runtime.wire.connect import Keys
from paretopipe_runtime.worker.order import HUB, StageOrder


def drive(plan: Plan, run: Run, prepared: Prepared, keys: Keys, run_id: str) -> dict[str, Any]:
    """Measure `run` and return what was seen: times, reports of the stages, the outputs' proof.

    Raises
    ------
    ParetoPipeError
        Whatever went wrong, here or in a stage; nothing is left running on any worker.
    """
    workers = (*run.workers, *([plan.hub] if plan.hub else []))
    with explained(workers, run_id, keys, plan.rtt_s) as boots:
        return _drive(plan, run, prepared, keys, run_id, boots)


def _drive(
    plan: Plan, run: Run, prepared: Prepared, keys: Keys, run_id: str, boots: Boots
) -> dict[str, Any]:
    deadlines = Deadlines.of(plan, prepared.hop_bytes(run.cuts))
    began = time.perf_counter()
    pipeline = launch(_orders(plan, run, prepared, run_id, deadlines), plan, keys, boots)
    try:
        launched = time.perf_counter()
        expected = Expected(
            prepared.boundaries[-1], prepared.reference, ENGINES[plan.engine].tolerance
        )
        driver = Driver(pipeline, expected, deadlines)
        phases: dict[str, Any] = {"warmup": driver.one_in_flight(run.warmup_batches)}
        warm = time.perf_counter()
        phases["latency"] = driver.one_in_flight(run.latency_batches)
        timed = time.perf_counter()
        phases["throughput"] = driver.saturated(run.throughput_batches, plan.window)
        saturated = time.perf_counter()
        reports = finish(pipeline, deadlines)
        proof = driver.proof()
    finally:
        for channel in pipeline.channels:
            channel.close()
    ended = time.perf_counter()
    return {
        **phases,
        "reports": reports,
        "ready": pipeline.ready,
        "proof": proof,
        "phases_s": {
            "launch": launched - began,
            "warmup": warm - launched,
            "latency": timed - warm,
            "throughput": saturated - timed,
            "teardown": ended - saturated,
        },
        "wall_s": ended - began,
    }


def _orders(
    plan: Plan, run: Run, prepared: Prepared, run_id: str, deadlines: Deadlines
) -> list[StageOrder]:
    ranges = stage_ranges(run.cuts, len(prepared.boundaries) - 1)

    def order(stage: int, worker: Worker, first: int, end: int) -> StageOrder:
        return StageOrder(
            run_id=run_id,
            stage=stage,
            stages=len(ranges),
            backend=plan.backend,
            transport=plan.transport,
            engine=plan.engine,
            allocator=worker.allocator,
            model=plan.model,
            classes=plan.classes,
            manifest=prepared.manifest,
            first=first,
            end=end,
            takes=prepared.boundaries[first],
            gives=prepared.boundaries[end],
            **plan.onward(run.workers, stage),
            input_batches=INPUT_BATCHES,
            input_seed=INPUT_SEED,
            image_px=plan.image_px,
            io_timeout_s=deadlines.io_s,
            idle_timeout_s=deadlines.batch_s + 60,
            device=worker.device if first < end else "cpu",
        )

    orders = [
        order(stage, worker, first, end)
        for stage, ((first, end), worker) in enumerate(zip(ranges, run.workers, strict=True))
    ]
    if plan.hub:  # it computes no block, and what it sends are the predictions
        orders.append(order(HUB, plan.hub, ranges[-1][1], ranges[-1][1]))
    return orders
