"""Prepare a sweep's cells and say how long they will take, before anything is measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from paretopipe_runtime.orchestrator import estimate
from paretopipe_runtime.orchestrator.deployment import deploy
from paretopipe_runtime.orchestrator.prepared import prepare
from paretopipe_runtime.plan import Plan, Worker, read_plan
from paretopipe_runtime.runs import expand
from paretopipe_runtime.wire.opening import Keys

Say = Callable[[str], None]


def prepare_cells(
    documents: list[dict[str, Any]], state_dir: Path, keys: Keys, say: Say
) -> list[dict[str, Any]]:
    """Make and deploy the weights, probe the workers, and return one estimate a cell.

    Parameters
    ----------
    documents : list of dict
        The cells' plans.
    say : callable
        Takes a line of progress.

    Returns
    -------
    list of dict
        ``cell_id``, ``runs``, ``total_s``, ``longest_split``, ``longest_s``, ``bytes_on_wire``.
    """
    plans = [read_plan(document) for document in documents]
    probed: dict[Any, float] = {}
    rows = []
    for plan in plans:
        prepared = prepare(plan, state_dir)
        speeds: dict[str, float] = {}
        for worker in plan.workers:
            known = _workload(plan, worker)
            if known not in probed:
                sent = deploy(worker, prepared.manifest, state_dir / "weights", keys)
                probed[known] = estimate.probe(plan, worker, prepared, keys)
                say(
                    f"{worker.host}: {sent / 1e6:.1f} MB of weights sent, whole {plan.model} takes "
                    f"{probed[known]:.3f} s a batch there with engine {plan.engine}"
                )
            speeds[worker.host] = probed[known]
        rows.append(_row(plan, prepared, speeds, state_dir))
    return rows


def _workload(plan: Plan, worker: Worker) -> tuple[Any, ...]:
    """What one probe shows to work, and how fast: the backend is part of it for the former."""
    return (
        *(plan.model, plan.classes, plan.image_px, plan.batch_size),
        *(*plan.weights_factors.values(), plan.backend, plan.transport, plan.engine),
        *(worker.host, worker.allocator, worker.device),
    )


def _row(plan: Plan, prepared: Any, speeds: dict[str, float], state_dir: Path) -> dict[str, Any]:
    runs = expand(plan, prepared.hop_bytes)
    seconds = {run.split: estimate.run_seconds(plan, run, prepared, speeds) for run in runs}
    estimate.save_estimate(plan, state_dir, seconds)
    longest = max(seconds, key=lambda split: seconds[split])
    return {
        "cell_id": plan.cell_id,
        "runs": len(runs),
        "total_s": sum(seconds[run.split] for run in runs),
        "longest_split": longest,
        "longest_s": seconds[longest],
        "bytes_on_wire": sum(
            prepared.hop_bytes(run.cuts)[0]
            * (run.warmup_batches + run.latency_batches + run.throughput_batches)
            for run in runs
        ),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the estimates as lines of text, the sum below."""
    longest = [f"{row['longest_split']} {duration(row['longest_s']):>9}" for row in rows]
    width = max(len("together"), *(len(row["cell_id"]) for row in rows))
    wide = max(len("longest run"), *map(len, longest))
    lines = [f"{'cell':<{width}}  runs   over the wire  {'longest run':>{wide}}  {'in all':>10}"]
    lines += [
        f"{row['cell_id']:<{width}}  {row['runs']:>4}  {row['bytes_on_wire'] / 1e9:>11.2f} GB  "
        f"{text:>{wide}}  {duration(row['total_s']):>10}"
        for row, text in zip(rows, longest, strict=True)
    ]
    runs, total_s = (sum(row[key] for row in rows) for key in ("runs", "total_s"))
    lines.append(f"{'together':<{width}}  {runs:>4}{duration(total_s):>{wide + 30}}")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Return ``50 s``, ``12 min`` or ``3 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
