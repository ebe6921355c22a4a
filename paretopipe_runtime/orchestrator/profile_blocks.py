"""Profile of a model's blocks: half of the batches go block by block, half in one piece.

With codecs, as many in between time these.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paretopipe_runtime.contract.chain import Chain, read_chain
from paretopipe_runtime.contract.codecs import NONE, check_codec
from paretopipe_runtime.contract.factors import ENGINES, FACTORS, stated
from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.plan import Workload, read_workload
from paretopipe_runtime.orchestrator.deployment import deploy
from paretopipe_runtime.orchestrator.disturbed import disturbances, message
from paretopipe_runtime.orchestrator.drive import launched
from paretopipe_runtime.orchestrator.orders import orders_of, parts_of
from paretopipe_runtime.orchestrator.pipeline import Deadlines, Expected
from paretopipe_runtime.orchestrator.prepared import Prepared, prepare
from paretopipe_runtime.orchestrator.record import (
    hosts_of,
    proof_of,
    status_of,
    unproved,
)
from paretopipe_runtime.orchestrator.runs import Run, Work, shuffled
from paretopipe_runtime.weights import tensor_nbytes
from paretopipe_runtime.wire.keys import Keys

#: Operations per second of a small processor, for the first estimate.
GUESSED_FLOPS = 10e9


def work_of(document: dict[str, Any], state_dir: Path) -> Work:
    """Return the profile's work: each repeat takes every worker once, in random order.

    Raises
    ------
    ValueError, ParetoPipeError
        For an unusable plan.
    """
    if not document["workers"]:
        raise ValueError("workers is empty, expected the hosts to profile")
    for count in ("warmup_batches", "batches"):  # the first batch is the cold one
        if int(document[count]) < 1:
            raise ValueError(f"{count} {document[count]}, expected 1 or more")
    warmup, batches = int(document["warmup_batches"]), int(document["batches"])
    workload = read_workload(document)
    chains = {worker["host"]: _alone(document, worker) for worker in document["workers"]}
    codecs = [name for name in map(check_codec, document.get("codecs", ())) if name != NONE]
    blocks = model_info(workload.model).blocks
    alone = itertools.pairwise(range(blocks + 1))
    prepared = prepare(workload, state_dir, [*alone, (0, blocks)])
    guess_s = 1 + _passes(codecs) * (warmup + batches) * sum(prepared.flops) / GUESSED_FLOPS
    seed, cell_id = int(document["seed"]), document["cell_id"]

    def run(chain: Chain, repeat: int) -> Run:
        factors = {
            **workload.factors,
            **stated(
                (factor for factor in FACTORS if factor.computes),
                {**chain.variant, **chain.workers[0].variant},
            ),
            "host": chain.workers[0].host,
            "repeat": repeat,
            "warmup_batches": warmup,
            "batches": batches,
            # Later than the others: profiles without keep their keys.
            **({"codecs": codecs} if codecs else {}),
        }
        return Run((), chain.workers, repeat, 0, warmup, batches, 0, factors)

    def measure(run: Run, keys: Keys, run_id: str) -> dict[str, Any]:
        store = state_dir / "weights"
        return _measure(workload, chains[run.split], run, prepared, store, keys, run_id)

    return Work(
        kind="profile",
        document=document,
        runs=[
            run(chain, repeat)
            for repeat in range(1, int(document["repeats"]) + 1)
            for chain in shuffled(seed, cell_id, repeat, [*chains.values()])
        ],
        measure=measure,
        about=lambda _: {"weights": workload.weights.facts()} if workload.weights else {},
        estimate_s=dict.fromkeys(chains, guess_s),
    )


def _passes(codecs: Sequence[str]) -> int:
    return 3 if codecs else 2


def _alone(document: dict[str, Any], worker: dict[str, Any]) -> Chain:
    alone = {"backend": "socket", "scenario": {"name": ""}, "workers": [worker]}
    return read_chain({**document, **alone})


def _measure(
    workload: Workload,
    chain: Chain,
    run: Run,
    prepared: Prepared,
    store: Path,
    keys: Keys,
    run_id: str,
) -> dict[str, Any]:
    deploy(chain.workers[0], prepared.manifest, store, keys)  # no forecast has to come first
    began = time.perf_counter()
    batches = run.warmup_batches + run.latency_batches
    codecs = tuple(run.factors.get("codecs", ()))
    deadlines = Deadlines.of(chain, prepared.hop_bytes(()))
    tolerance = ENGINES[workload.engine].tolerance
    expected = Expected(prepared.boundaries[-1], prepared.reference, tolerance)
    parts, manifest = parts_of(prepared, ()), prepared.manifest
    orders = orders_of(
        *(chain, parts, run_id, deadlines, workload, manifest, batches, codecs),
        profile_takes=prepared.boundaries[:-1],
    )
    with launched(orders, chain, keys, expected, deadlines) as driver:
        driver.one_in_flight(_passes(codecs) * batches)
        (report,) = driver.finish()
        proof = driver.proof()
    (ready,) = driver.ready
    blocks = _blocks(workload.model, run.warmup_batches, prepared, store, report)
    hosts = hosts_of(chain.workers, [ready], [report])
    checks: dict[str, object] = {
        **unproved(proof, tolerance, _passes(codecs) * batches),
        "input_mismatch": ready["input_digest"] != prepared.input_digest,
        "shape_mismatch": [seen["output_shape"] for seen in report["blocks"]]
        != [block["output_shape"] for block in blocks],
        **disturbances(hosts),
    }
    return {
        "status": status_of(checks),
        "message": message(hosts),
        "input_bytes": prepared.boundaries[0].nbytes,
        **_codecs(run.warmup_batches, report, 0),
        "whole_s": report["whole_s"][run.warmup_batches :],
        "blocks": blocks,
        "proof": proof_of(workload.engine, prepared, driver.ready, proof),
        "device": report["device"],
        "load_s": ready["load_s"],
        "cpu_percent": report["cpu_percent"],
        **({"gpu": report["gpu"]} if "gpu" in report else {}),
        "threads": report["threads"],
        "hosts": hosts,
        "wall_s": time.perf_counter() - began,
    }


def _blocks(
    model: str, warmup: int, prepared: Prepared, store: Path, report: dict[str, Any]
) -> list[dict[str, Any]]:
    names = model_info(model).block_names
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
            "compute_s": seen["compute_s"][warmup:],
            "first_s": seen["compute_s"][0],
            "rss_before_bytes": seen["rss_before_bytes"],
            "peak_rss_bytes": seen["peak_rss_bytes"],
            **_codecs(warmup, report, index + 1),
        }
        for index, (name, seen) in enumerate(zip(names, report["blocks"], strict=True))
    ]


def _codecs(warmup: int, report: dict[str, Any], boundary: int) -> dict[str, Any]:
    """Return the warm seconds of every codec at a boundary; nothing without codecs."""
    seen = dict(enumerate(report["codecs"])).get(boundary)
    if not seen:
        return {}
    return {
        "codecs": {
            name: {key: seconds[warmup:] for key, seconds in times.items()}
            for name, times in seen.items()
        }
    }
