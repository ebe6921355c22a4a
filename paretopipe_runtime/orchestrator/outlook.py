"""Prepare a sweep's cells and say how long they will take, before anything is measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from paretopipe_runtime.orchestrator import estimate
from paretopipe_runtime.orchestrator.blocks import Log, blocks_of, continued, needed, outstanding
from paretopipe_runtime.orchestrator.deployment import deploy
from paretopipe_runtime.orchestrator.prepared import prepare
from paretopipe_runtime.plan import Plan, Worker, read_plan
from paretopipe_runtime.records import Records
from paretopipe_runtime.runs import Run, expand
from paretopipe_runtime.wire.opening import Keys

Say = Callable[[str], None]


def prepare_cells(
    documents: list[dict[str, Any]],
    state_dir: Path,
    keys: Keys,
    say: Say,
    records_dir: Path | None = None,
) -> list[dict[str, Any]]:
    """Make and deploy the weights, probe the workers, and return one estimate a cell.

    What is measured already takes no time: an interrupted sweep's estimate is of what is left.

    Parameters
    ----------
    documents : list of dict
        The cells' plans.
    say : callable
        Takes a line of progress.
    records_dir : Path, optional
        Where the cells' records are, if they have any.

    Returns
    -------
    list of dict
        ``cell_id``, ``runs``, and of those that are ``left``: ``left_s``, ``bytes_on_wire``, and
        ``longest_split`` and ``longest_s`` of all.
    """
    logs = [_records(document, records_dir) for document in documents]
    plans = [
        read_plan(continued(document, records.more if records else []))
        for document, records in zip(documents, logs, strict=True)
    ]
    probed: dict[Any, float] = {}
    rows = []
    for plan, records in zip(plans, logs, strict=True):
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
        rows.append(_row(plan, prepared, speeds, state_dir, Log(records.runs if records else [])))
    return rows


def _workload(plan: Plan, worker: Worker) -> tuple[Any, ...]:
    """What one probe shows to work, and how fast: the backend is part of it for the former."""
    return (
        *(plan.model, plan.classes, plan.image_px, plan.batch_size),
        *(*plan.weights_factors.values(), plan.backend, plan.transport, plan.engine),
        *(worker.host, worker.allocator, worker.device),
    )


def _records(document: dict[str, Any], folder: Path | None) -> Records | None:
    path = folder / f"{document.get('cell_id')}.jsonl" if folder else None
    return Records(path) if path and path.exists() else None


def _row(
    plan: Plan, prepared: Any, speeds: dict[str, float], state_dir: Path, log: Log
) -> dict[str, Any]:
    blocks = blocks_of(expand(plan, prepared.hop_bytes))
    runs = [run for block in blocks for run in needed(block, log)]
    left = outstanding(blocks, log)
    seconds = {run.split: estimate.run_seconds(plan, run, prepared, speeds) for run in runs}
    estimate.save_estimate(plan, state_dir, seconds)
    longest = max(seconds, key=lambda split: seconds[split])

    def sent(run: Run) -> int:
        batches = run.warmup_batches + run.latency_batches + run.throughput_batches
        return int(prepared.hop_bytes(run.cuts)[0]) * batches

    return {
        "cell_id": plan.cell_id,
        "runs": len(runs),
        "left": len(left),
        "left_s": sum(seconds[run.split] for run in left),
        "longest_split": longest,
        "longest_s": seconds[longest],
        "bytes_on_wire": sum(map(sent, left)),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the estimates as lines of text, the sum below."""
    resumed = any(row["left"] < row["runs"] for row in rows)
    total = {key: sum(row[key] for row in rows) for key in ("runs", "left", "left_s")}

    def count(row: dict[str, Any]) -> str:
        return f"{row['left']} of {row['runs']}" if resumed else str(row["runs"])

    title = "runs left" if resumed else "runs"
    longest = [f"{row['longest_split']} {duration(row['longest_s']):>9}" for row in rows]
    width = max(len("together"), *(len(row["cell_id"]) for row in rows))
    many = max(len(title), *(len(count(row)) for row in [*rows, total]))
    wide = max(len("longest run"), *map(len, longest))
    over = f"{'longest run':>{wide}}  {'in all':>10}"
    lines = [f"{'cell':<{width}}  {title:>{many}}  over the wire  {over}"]
    lines += [
        f"{row['cell_id']:<{width}}  {count(row):>{many}}  {row['bytes_on_wire'] / 1e9:>10.2f} GB  "
        f"{text:>{wide}}  {duration(row['left_s']):>10}"
        for row, text in zip(rows, longest, strict=True)
    ]
    together = duration(total["left_s"])
    lines.append(f"{'together':<{width}}  {count(total):>{many}}{together:>{wide + 29}}")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Return ``50 s``, ``12 min`` or ``3 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
