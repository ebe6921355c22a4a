"""Estimates of a sweep's duration before anything is measured.

A probe times the whole model on each worker; blocks share it by their operations.
"""

from __future__ import annotations

import dataclasses
import math
import secrets
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paretopipe_runtime import forked
from paretopipe_runtime.contract.chain import Worker
from paretopipe_runtime.contract.plan import Plan, read_plan
from paretopipe_runtime.contract.units import duration
from paretopipe_runtime.orchestrator import adaptive, doubtful, noise
from paretopipe_runtime.orchestrator.building import build
from paretopipe_runtime.orchestrator.deployment import deploy, telling
from paretopipe_runtime.orchestrator.drive import drive
from paretopipe_runtime.orchestrator.duration import VISIT_S, run_seconds
from paretopipe_runtime.orchestrator.foreseen import foreseen, in_time
from paretopipe_runtime.orchestrator.loop import profile_of
from paretopipe_runtime.orchestrator.pace import Pace, learned, save_estimate
from paretopipe_runtime.orchestrator.prepared import Prepared, prepare
from paretopipe_runtime.orchestrator.rounds import Log, Round, needed, outstanding, rounds_of
from paretopipe_runtime.orchestrator.runs import Run, end_points, expand, run_of, stages_of
from paretopipe_runtime.records import Records
from paretopipe_runtime.wire.keys import Keys

GUESS = 0.5  # relative standard deviation of a profile's estimate
Say = Callable[[str], None]


def prepare_cells(
    documents: list[dict[str, Any]],
    state_dir: Path,
    keys: Keys,
    say: Say,
    records_dir: Path | None = None,
    first: int = 0,
    noise_s: float = 0.0,
) -> list[dict[str, Any]]:
    """Make and deploy weights, build stages, probe the workers, estimate each document's rest.

    Estimates are corrected by the error of those for cells already measured. If cells are left, the
    workers' own scatter is measured and kept for their records.

    Parameters
    ----------
    documents : list of dict
        Plans of cells and profiles.
    records_dir : Path, optional
        Folder of the cells' records.
    first : int
        Rounds of each cell for a first report; 0 for none.
    noise_s : float
        Seconds of the same work on each worker; 0 to measure no scatter.

    Returns
    -------
    list of dict
        ``cell_id``, ``runs``, and of those ``left``: ``left_s`` with likely repeats, its standard
        deviation ``left_sd_s``, ``first_s`` for the first report, ``bytes_on_wire``; of all runs:
        ``longest_split`` and ``longest_s``; of the cell's hosts: ``scatter``; ``at_most`` if it may
        be less.
    """
    cells = [document for document in documents if "kind" not in document]
    logs = [_records(document, records_dir) for document in cells]
    plans = [read_plan(document) for document in cells]
    probed: dict[Any, float] = {}
    built: set[Any] = set()
    known = learned(state_dir, (plan.cell_id for plan in plans))
    todo = []
    for plan, records in zip(plans, logs, strict=True):
        workload = plan.workload
        prepared = prepare(workload, state_dir, stages_of(plan))
        more = adaptive.begun(plan, prepared.hop_bytes, records) if records else ()
        log = Log(records.runs if records else [])
        runs = expand(plan, prepared.hop_bytes, more)
        if plan.doubtful:
            runs = _with_stand_ins(plan, prepared.hop_bytes, runs, log, records)
        speeds: dict[str, float] = {}
        for worker in plan.chain.hosts:
            load = _workload(plan, worker)
            if new := load not in probed:
                store, told = state_dir / "weights", telling(worker.host, say)
                sent = deploy(worker, prepared.manifest, store, keys, told)
            build(plan, worker, runs, prepared, keys, built, say)
            if new:
                probed[load] = probe(plan, worker, prepared, keys)
                say(
                    f"{worker.host}: {sent / 1e6:.1f} MB of weights sent, whole {workload.model} "
                    f"takes {probed[load]:.3f} s a batch there with engine {workload.engine}"
                )
            speeds[worker.host] = probed[load]
        spent_s = doubtful.seconds(records.runs) if records else 0.0
        todo.append((plan, prepared, rounds_of(runs), speeds, log, spent_s))
    measured: noise.Noise = {}
    if noise_s and any(outstanding(rounds, log) for _, _, rounds, _, log, _ in todo):
        measured = noise.measure((plan.chain for plan in plans), noise_s, keys)
        each = (f"{host} {100 * one:.2g} %" for host, one in noise.scatters(measured).items())
        say(f"the same work, timed again, scatters by: {', '.join(each)}")
    noise.save(state_dir, measured)
    rows = []
    for plan, prepared, rounds, speeds, log, spent_s in todo:
        cell = known.get(plan.cell_id)
        others = [found for found in known.values() if found is not cell]
        own = noise.load(state_dir, (worker.host for worker in plan.chain.hosts))
        pace = Pace.of(others, cell, noise.worst(own))
        row = _row(plan, prepared, rounds, speeds, state_dir, log, spent_s, pace, first)
        rows.append({**row, "scatter": noise.scatters(own), "at_most": bool(plan.doubtful)})
    return rows + [
        _profile_row(document, state_dir, _records(document, records_dir))
        for document in documents
        if "kind" in document
    ]


def _with_stand_ins(
    plan: Plan,
    hop_bytes: adaptive.HopBytes,
    runs: list[Run],
    log: Log,
    records: Records | None,
) -> list[Run]:
    """Return a doubtful plan's `runs` chosen so far, and stand-ins for those to come."""
    recorded = records.runs if records else []
    measured = adaptive.counted(plan, hop_bytes, recorded)
    begun = [run for run in outstanding(rounds_of(runs), log) if run.role == "split"]
    if records and not begun and doubtful.ended(plan, hop_bytes, records):
        return runs
    have = sum(len(measured.get(cuts, ())) for cuts in plan.splits) + len(begun)
    repeats = [*(row["factors"]["repeat"] for row in recorded), *(run.repeat for run in runs), 1]
    ends = [run_of(plan, hop_bytes, cuts, 1, 0, "end_point") for cuts in end_points(plan)]
    return [*(runs or ends), *foreseen(plan, hop_bytes, have, max(repeats))]


def _workload(plan: Plan, worker: Worker) -> tuple[Any, ...]:
    """Return all that decides a worker's speed or may break its stage."""
    chosen = {**plan.workload.factors, **plan.chain.variant, **worker.variant}
    return (worker.host, *chosen.items())


def _records(document: dict[str, Any], folder: Path | None) -> Records | None:
    path = folder / f"{document.get('cell_id')}.jsonl" if folder else None
    return Records(path) if path and path.exists() else None


def probe(plan: Plan, worker: Worker, prepared: Prepared, keys: Keys) -> float:
    """Return the seconds per batch of the whole model on `worker`, warm."""
    alone = dataclasses.replace(plan, chain=dataclasses.replace(plan.chain, workers=(worker,)))
    run = Run((), (worker,), 0, 0, 1, 2, 1, {})

    def fresh() -> float:
        seen = drive(alone, run, prepared, keys, f"probe-{secrets.token_hex(4)}")
        computed = [float(compute_s) for _, _, compute_s in seen["reports"][0]["batches"]]
        return statistics.median(computed[1:])

    return float(forked.call(fresh))


def _row(
    plan: Plan,
    prepared: Prepared,
    rounds: list[Round],
    speeds: dict[str, float],
    state_dir: Path,
    log: Log,
    spent_s: float,
    pace: Pace,
    first: int,
) -> dict[str, Any]:
    runs = [run for round_ in rounds for run in needed(round_, log)]
    each = [run_of(plan, prepared.hop_bytes, cuts, 1) for cuts in plan.splits]
    seconds = {
        run.split: run_seconds(plan.chain, run, prepared.work, prepared.hop_bytes(run.cuts), speeds)
        for run in (*each, *runs)
    }
    wanted = outstanding(rounds, log)
    left = in_time(plan, wanted, {name: pace.ratio * s for name, s in seconds.items()}, spent_s)
    save_estimate(state_dir, plan.cell_id, seconds)
    watched = plan.sentinel and plan.drift_limit > 0
    to_come = sum(not log.when(round_.closing, 1) for round_ in rounds) if watched else 0
    left_s, left_sd_s = pace.foresee(sum(seconds[run.split] for run in left), to_come)
    look_s = sum(seconds[run.split] for run in outstanding(rounds[:first], log))
    longest = max(seconds, key=lambda split: seconds[split])

    def sent(run: Run) -> int:
        batches = run.warmup_batches + run.latency_batches + run.throughput_batches
        return int(prepared.hop_bytes(run.cuts)[0]) * batches

    return {
        "cell_id": plan.cell_id,
        "runs": len(runs) - len(wanted) + len(left),
        "left": len(left),
        "left_s": left_s,
        "left_sd_s": left_sd_s,
        "first_s": pace.ratio * look_s,
        "longest_split": longest,
        "longest_s": pace.ratio * seconds[longest],
        "bytes_on_wire": sum(map(sent, left)),
    }


def _profile_row(
    document: dict[str, Any], state_dir: Path, records: Records | None
) -> dict[str, Any]:
    work = profile_of(document, state_dir)
    left = [run for run in work.runs if not records or run.key not in records.done]
    longest, longest_s = max(work.estimate_s.items(), key=lambda item: item[1])
    left_s = sum(work.estimate_s[run.split] for run in left)
    return {
        **{"cell_id": document["cell_id"], "runs": len(work.runs), "left": len(left)},
        **{"left_s": left_s, "left_sd_s": GUESS * left_s, "first_s": 0.0, "bytes_on_wire": 0},
        **{"longest_split": longest, "longest_s": longest_s, "scatter": {}, "at_most": False},
    }


def visits(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the seconds of each visit to a cell, each host's scatter, and whether it may be less.

    Deviations add up, as cells err together.
    """
    first = {f"{row['cell_id']} first": row["first_s"] for row in rows if row["first_s"]}
    rest = {row["cell_id"]: row["left_s"] - row["first_s"] for row in rows}
    every = {name: s and s + VISIT_S for name, s in {**first, **rest}.items()}
    visits_sd_s = VISIT_S * sum(map(bool, every.values()))  # a busy controller takes twice as long
    return {
        "visits_s": every,
        "left_sd_s": math.hypot(sum(row["left_sd_s"] for row in rows), visits_sd_s),
        "runs_left": sum(row["left"] for row in rows),
        "at_most": any(row["at_most"] for row in rows if row["left"]),
        "scatter": {host: s for row in rows for host, s in row["scatter"].items()},
    }


def table(rows: list[dict[str, Any]]) -> str:
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
