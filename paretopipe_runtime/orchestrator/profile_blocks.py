"""Profile a model's blocks on each worker: the samples, one launch of them, and its record.

The orchestrator asks for each batch and checks its prediction, as in a run: half of them go through
the blocks one by one, half through the model in one piece.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

from paretopipe_runtime.contract.factors import ENGINES, FACTORS, stated
from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.plan import Plan, read_plan
from paretopipe_runtime.orchestrator.deployment import deploy
from paretopipe_runtime.orchestrator.pipeline import Deadlines, Driver, Expected, finish, launch
from paretopipe_runtime.orchestrator.postmortem import explained
from paretopipe_runtime.orchestrator.prepared import (
    INPUT_BATCHES,
    INPUT_SEED,
    Prepared,
    prepare,
)
from paretopipe_runtime.orchestrator.record import was_throttled
from paretopipe_runtime.orchestrator.sample import Sample, shuffled
from paretopipe_runtime.weights import tensor_nbytes
from paretopipe_runtime.wire.connect import Keys
from paretopipe_runtime.worker.order import StageOrder

#: What the first sample is guessed by: a small processor's operations a second.
GUESSED_FLOPS = 10e9


def samples(document: dict[str, Any], state_dir: Path) -> list[Sample]:
    """Return the samples of a profile: in each repeat every worker once, in a random order.

    Raises
    ------
    ParetoPipeError
        For a plan that no launch could do without.
    """
    if not document["workers"]:
        raise ValueError("workers is empty, expected the hosts to profile")
    for count in ("warmup_batches", "batches"):  # the first batch is the cold one
        if int(document[count]) < 1:
            raise ValueError(f"{count} {document[count]}, expected 1 or more")
    plans = [_alone(document, worker) for worker in document["workers"]]
    prepared = prepare(plans[0], state_dir)
    batches = plans[0].warmup_batches + plans[0].latency_batches
    return [
        Sample(
            plan.workers[0].host,
            repeat,
            _factors(plan, repeat),
            functools.partial(_measure, plan, prepared, state_dir / "weights"),
            guess_s=1 + 2 * batches * sum(prepared.flops) / GUESSED_FLOPS,
            about={"weights": plan.weights.facts()} if plan.weights else {},
        )
        for repeat in range(1, plans[0].repeats + 1)
        for plan in shuffled(plans[0], repeat, plans)
    ]


def _alone(document: dict[str, Any], worker: dict[str, Any]) -> Plan:
    """Return the plan of one worker that has the whole model."""
    unused = {"pairing": "", "scenario": {"name": ""}, "throughput_batches": 1, "window": 1}
    batches = {"latency_batches": document["batches"]}
    alone = {"splits": [[]], "workers": [worker], "backend": "socket"}
    return read_plan({**document, **unused, **batches, **alone})


def _factors(plan: Plan, repeat: int) -> dict[str, Any]:
    values = {**plan.variant, **plan.workers[0].variant}
    return {
        "model": plan.model,
        "classes": plan.classes,
        "image_px": plan.image_px,
        "batch_size": plan.batch_size,
        **stated((factor for factor in FACTORS if factor.computes), values),
        "host": plan.workers[0].host,
        "repeat": repeat,
        "warmup_batches": plan.warmup_batches,
        "batches": plan.latency_batches,
        **plan.weights_factors,
    }


def _measure(
    plan: Plan, prepared: Prepared, store: Path, keys: Keys, run_id: str
) -> dict[str, Any]:
    deploy(plan.workers[0], prepared.manifest, store, keys)  # no preparation has to come first
    began = time.perf_counter()
    batches = plan.warmup_batches + plan.latency_batches
    deadlines = Deadlines.of(plan, prepared.hop_bytes(()))
    expected = Expected(prepared.boundaries[-1], prepared.reference, ENGINES[plan.engine].tolerance)
    with explained(plan.workers[:1], run_id, keys, plan.rtt_s) as boots:
        pipeline = launch([_order(plan, prepared, deadlines, batches, run_id)], plan, keys, boots)
        try:
            driver = Driver(pipeline, expected, deadlines)
            driver.one_in_flight(2 * batches)
            (report,) = finish(pipeline, deadlines)
            proof = driver.proof()
        finally:
            for channel in pipeline.channels:
                channel.close()
    (ready,) = pipeline.ready
    record = {
        "input_bytes": prepared.boundaries[0].nbytes,
        "whole_s": report["whole_s"][plan.warmup_batches :],
        "blocks": _blocks(plan, prepared, store, report),
        "proof": {
            "max_rel_err": proof["max_rel_err"],
            "argmax_equal": proof["argmax_equal"],
            "batches_checked": proof["batches_checked"],
            "tolerance": expected.tolerance,
            "weights_digest": prepared.weights_digest,
            "input_digest": ready["input_digest"],
            "reference_digest": prepared.reference_digest,
        },
        "device": report["device"],
        "load_s": ready["load_s"],
        "cpu_percent": report["cpu_percent"],
        **({"gpu": report["gpu"]} if "gpu" in report else {}),
        "threads": report["threads"],
        "hosts": {plan.workers[0].host: {**ready["host"], **report["host"]}},
        "wall_s": time.perf_counter() - began,
    }
    reasons = _reasons(prepared, report, record, proof, 2 * batches)
    return {"status": f"invalid:{','.join(reasons)}" if reasons else "ok", **record}


def _order(
    plan: Plan, prepared: Prepared, deadlines: Deadlines, batches: int, run_id: str
) -> StageOrder:
    return StageOrder(
        run_id=run_id,
        stage=0,
        stages=1,
        backend=plan.backend,
        transport=plan.transport,
        engine=plan.engine,
        allocator=plan.workers[0].allocator,
        model=plan.model,
        classes=plan.classes,
        manifest=prepared.manifest,
        first=0,
        end=len(prepared.flops),
        takes=prepared.boundaries[0],
        gives=prepared.boundaries[-1],
        next_stage=None,
        input_batches=INPUT_BATCHES,
        input_seed=INPUT_SEED,
        image_px=plan.image_px,
        io_timeout_s=deadlines.io_s,
        idle_timeout_s=deadlines.batch_s + 60,
        profile_batches=batches,
        device=plan.workers[0].device,
    )


def _blocks(
    plan: Plan, prepared: Prepared, store: Path, report: dict[str, Any]
) -> list[dict[str, Any]]:
    names = model_info(plan.model).block_names
    weights = prepared.manifest["blocks"]
    return [
        {
            "index": index,
            "name": name,
            "parameters": weights[index]["parameters"],
            "weight_bytes": tensor_nbytes(store, weights[index]["sha256"]),
            "flops": prepared.flops[index],
            "output_shape": list(prepared.boundaries[index + 1].shape),
            "output_bytes": prepared.boundaries[index + 1].nbytes,
            "compute_s": seen["compute_s"][plan.warmup_batches :],
            "first_s": seen["compute_s"][0],
            "rss_before_bytes": seen["rss_before_bytes"],
            "peak_rss_bytes": seen["peak_rss_bytes"],
        }
        for index, (name, seen) in enumerate(zip(names, report["blocks"], strict=True))
    ]


def _reasons(
    prepared: Prepared,
    report: dict[str, Any],
    record: dict[str, Any],
    proof: dict[str, Any],
    batches: int,
) -> list[str]:
    """Why a sample does not count; never for the times it saw."""
    error = proof["max_rel_err"]
    shapes = [seen["output_shape"] for seen in report["blocks"]]
    (host,) = record["hosts"].values()
    checks = {
        "non_finite": not proof["finite"],
        "output_mismatch": error is None
        or error > record["proof"]["tolerance"]
        or not proof["argmax_equal"],
        "unchecked_batches": proof["batches_checked"] != batches,
        "input_mismatch": record["proof"]["input_digest"] != prepared.input_digest,
        "shape_mismatch": shapes != [block["output_shape"] for block in record["blocks"]],
        "throttled": was_throttled(host),
    }
    return [reason for reason, holds in checks.items() if holds]
