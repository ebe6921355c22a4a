"""How long will it take? Known before the first run: from the plan, and one short probe a worker.

The probe runs the whole model on each worker once (a plan with no cut), which gives the node's
speed; each block's share of the work spreads it over the splits; bytes over rate gives the wire.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import secrets
import statistics
from pathlib import Path

from paretopipe_runtime import forked
from paretopipe_runtime.orchestrator.drive import drive
from paretopipe_runtime.orchestrator.prepared import Prepared
from paretopipe_runtime.orchestrator.runs import Run
from paretopipe_runtime.partition import stage_ranges
from paretopipe_runtime.plan import Plan, Worker
from paretopipe_runtime.wire.opening import Keys

LAUNCH_S = 0.3
LAUNCH_ROUND_TRIPS = {"socket": 7, "rpc": 30, "rpc_hub": 42}  # PyTorch RPC meets through a store
TLS_ROUND_TRIPS = 4  # two to agree, on the orchestrator's connection and on the stages'


def probe(plan: Plan, worker: Worker, prepared: Prepared, keys: Keys) -> float:
    """Return the seconds that one batch of the whole model takes on `worker`, warm."""
    alone = dataclasses.replace(plan, workers=(worker,), window=1)
    run = Run((), (worker,), 0, 0, 1, 2, 1, {})

    def fresh() -> float:
        seen = drive(alone, run, prepared, keys, f"probe-{secrets.token_hex(4)}")
        computed = [float(compute_s) for _, _, compute_s in seen["reports"][0]["batches"]]
        return statistics.median(computed[1:])

    return float(forked.call(fresh))


def run_seconds(plan: Plan, run: Run, prepared: Prepared, whole_s: dict[str, float]) -> float:
    """Return how long `run` should take.

    latency = compute + transfers + round trip; the saturated phase goes at the pace of its slowest
    stage or hop, after one batch has filled the pipe.
    """
    ranges = stage_ranges(run.cuts, len(prepared.work))
    compute_s = [
        whole_s[worker.host] * sum(prepared.work[first:end])
        for worker, (first, end) in zip(run.workers, ranges, strict=True)
    ]
    # Only what leaves the first worker is shaped; predictions are small in any case.
    transfer_s = plan.transfer_s(prepared.hop_bytes(run.cuts)[0]) if run.cuts else 0.0
    one_s = sum(compute_s) + transfer_s + plan.rtt_s
    pace_s = max(*compute_s, transfer_s)
    alone = run.warmup_batches + run.latency_batches + 1
    launch_s = LAUNCH_S + launch_round_trips(plan) * plan.rtt_s
    return launch_s + alone * one_s + (run.throughput_batches - 1) * pace_s


def launch_round_trips(plan: Plan) -> int:
    """Return how often a launch waits for an answer from far away."""
    return LAUNCH_ROUND_TRIPS[plan.backend] + TLS_ROUND_TRIPS * (plan.transport == "tls")


def save_estimate(plan: Plan, state_dir: Path, split_s: dict[str, float]) -> None:
    """Keep a cell's estimate for the sweep's progress line."""
    path = _path(plan, state_dir)
    partial = path.with_name(path.name + ".partial")
    with contextlib.suppress(OSError):  # a sweep does without it; a full disk is told of elsewhere
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(split_s))
        partial.rename(path)


def load_estimate(plan: Plan, state_dir: Path) -> dict[str, float]:
    """Return seconds by split name; empty where nothing was estimated."""
    try:
        return dict(json.loads(_path(plan, state_dir).read_text()))
    except (OSError, ValueError):
        return {}


def _path(plan: Plan, state_dir: Path) -> Path:
    return state_dir / "estimates" / f"{plan.cell_id}.json"
