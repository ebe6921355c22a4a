"""Profile a model's blocks on each worker: the samples, one launch of them, and its record.

The orchestrator asks for each batch and checks its prediction, as in a run: half of them go through
the blocks one by one, half through the model in one piece.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from paretopipe_runtime.contract.factors import ENGINES, FACTORS, stated
from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.plan import Plan, read_plan
from paretopipe_runtime.orchestrator.deployment import deploy
from paretopipe_runtime.orchestrator.drive import launched
from paretopipe_runtime.orchestrator.orders import Model, orders_of, parts_of
from paretopipe_runtime.orchestrator.pipeline import Deadlines, Expected
from paretopipe_runtime.orchestrator.prepared import Prepared, prepare
from paretopipe_runtime.orchestrator.record import (
    hosts_of,
    proof_of,
    status_of,
    throttled,
    unproved,
)
from paretopipe_runtime.orchestrator.runs import Run, Work, shuffled
from paretopipe_runtime.weights import tensor_nbytes
from paretopipe_runtime.wire.connect import Keys

#: What the first sample is guessed by: a small processor's operations a second.
GUESSED_FLOPS = 10e9


def work_of(document: dict[str, Any], state_dir: Path) -> Work:
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
    plans = {worker["host"]: _alone(document, worker) for worker in document["workers"]}
    plan = next(iter(plans.values()))
    prepared = prepare(plan, state_dir)
    warmup, batches = plan.warmup_batches, plan.latency_batches
    guess_s = 1 + 2 * (warmup + batches) * sum(prepared.flops) / GUESSED_FLOPS

    def run(own: Plan, repeat: int) -> Run:
        factors = _factors(own, repeat)
        return Run((), own.workers, repeat, 0, warmup, batches, batches, factors)

    def measure(run: Run, keys: Keys, run_id: str) -> dict[str, Any]:
        return _measure(plans[run.split], prepared, state_dir / "weights", keys, run_id)

    return Work(
        kind="profile",
        document=document,
        runs=[
            run(own, repeat)
            for repeat in range(1, plan.repeats + 1)
            for own in shuffled(plan, repeat, [*plans.values()])
        ],
        measure=measure,
        about=lambda _: {"weights": plan.weights.facts()} if plan.weights else {},
        estimate_s=dict.fromkeys(plans, guess_s),
    )


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
    tolerance = ENGINES[plan.engine].tolerance
    expected = Expected(prepared.boundaries[-1], prepared.reference, tolerance)
    model = Model(plan.model, plan.classes, plan.engine, prepared.manifest, plan.image_px)
    parts = parts_of(prepared, ())
    orders = orders_of(plan, plan.workers, parts, model, run_id, deadlines, batches)
    with launched(orders, plan, keys, expected, deadlines) as driver:
        driver.one_in_flight(2 * batches)
        (report,) = driver.finish()
        proof = driver.proof()
    (ready,) = driver.ready
    blocks = _blocks(plan, prepared, store, report)
    hosts = hosts_of(plan.workers, [ready], [report])
    checks = {
        **unproved(proof, tolerance, 2 * batches),
        "input_mismatch": ready["input_digest"] != prepared.input_digest,
        "shape_mismatch": [seen["output_shape"] for seen in report["blocks"]]
        != [block["output_shape"] for block in blocks],
        "throttled": throttled(hosts),
    }
    return {
        "status": status_of(checks),
        "input_bytes": prepared.boundaries[0].nbytes,
        "whole_s": report["whole_s"][plan.warmup_batches :],
        "blocks": blocks,
        "proof": proof_of(plan, prepared, driver.ready, proof),
        "device": report["device"],
        "load_s": ready["load_s"],
        "cpu_percent": report["cpu_percent"],
        **({"gpu": report["gpu"]} if "gpu" in report else {}),
        "threads": report["threads"],
        "hosts": hosts,
        "wall_s": time.perf_counter() - began,
    }


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
