"""Measure what is missing of one cell: run by run, each in fresh processes, each a record.

State is derived from the records file. Stopping at any point loses at most the run under way.
"""

from __future__ import annotations

import secrets
import signal
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from paretopipe_runtime import forked
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator import record
from paretopipe_runtime.orchestrator.drive import drive
from paretopipe_runtime.orchestrator.estimate import load_estimate
from paretopipe_runtime.orchestrator.prepared import Prepared, prepare
from paretopipe_runtime.orchestrator.progress import Progress
from paretopipe_runtime.plan import Plan, Run, expand, read_plan
from paretopipe_runtime.records import Records

LEASE_S = 60.0
MAX_ATTEMPTS = 2  # of one run within one sweep
GIVE_UP_AFTER = 4  # failures in a row: the host or the link is gone, not one run unlucky

COMPLETE, INCOMPLETE, INTERRUPTED = 0, 1, 75


@dataclass(frozen=True)
class SweepFiles:
    """Where a sweep reads and writes."""

    records: Path
    merge: Path | None
    progress: Path | None
    lease: Path | None
    state_dir: Path


def sweep(document: dict[str, Any], files: SweepFiles, key: bytes) -> tuple[int, str]:
    """Measure the cell that `document` plans; return the exit code and a closing sentence.

    Raises
    ------
    ParetoPipeError
        For a plan, a key or a disk that no run could do without.
    """
    plan = read_plan(document)
    records = Records(files.records)
    if files.merge:
        records.merge(files.merge)
    prepared = prepare(plan, files.state_dir)
    runs = expand(plan, {cuts: prepared.hop_bytes(cuts) for cuts in plan.splits})
    pending = deque((run, 1) for run in runs if run.key not in records.done)
    if pending:
        records.append_plan(document)
    estimate = load_estimate(plan, files.state_dir)
    progress = Progress(files.progress, plan.cell_id, runs, records.done, estimate)
    stopping = _stop_on_signal()
    failures: list[str] = []  # in a row
    last_failure = ""
    while pending:
        if stopping or _lease_expired(files.lease):
            progress.write(finished=True)
            return INTERRUPTED, f"stopped with {len(pending)} runs to go; the same command goes on"
        run, attempt = pending.popleft()
        progress.begin(run)
        row = _measure(plan, run, prepared, key)
        if stopping and row["status"].startswith("failed"):
            pending.appendleft((run, attempt))  # cut short by the same signal: not its fault
            continue
        row["attempt"] = records.attempts.get(run.key, 0) + 1
        records.append(row)
        progress.end(run, row)
        if row["status"] == "ok":
            failures.clear()
            continue
        last_failure = row["message"] or row["status"]
        failures.append(last_failure)
        if attempt < MAX_ATTEMPTS:
            pending.append((run, attempt + 1))
        if len(failures) >= GIVE_UP_AFTER:
            progress.write(finished=True)
            return INCOMPLETE, f"gave up after {len(failures)} failures in a row: {last_failure}"
    progress.write(finished=True)
    missing = sum(run.key not in records.done for run in runs)
    if missing:
        return INCOMPLETE, f"{missing} of {len(runs)} runs have no valid result: {last_failure}"
    return COMPLETE, f"all {len(runs)} runs measured"


def _measure(plan: Plan, run: Run, prepared: Prepared, key: bytes) -> dict[str, Any]:
    """Measure one run in a fresh process; a failure is a record too."""
    row = {
        "kind": "run",
        "run_key": run.key,
        "started_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "cell_id": plan.cell_id,
        "factors": run.factors,
        "order": run.order,
        "network": {"asked": plan.netem, "measured": plan.measured},
        "message": "",
    }

    def fresh() -> dict[str, Any]:
        run_id = f"{run.key}-{secrets.token_hex(4)}"
        return record.success(plan, run, prepared, drive(plan, run, prepared, key, run_id))

    try:
        return {**row, **forked.call(fresh)}
    except ParetoPipeError as error:
        return {**row, "status": f"failed:{error.code}", "message": error.message}


def _lease_expired(lease: Path | None) -> bool:
    """Whether whoever started the sweep has stopped touching its lease."""
    if lease is None:
        return False
    try:
        return time.time() - lease.stat().st_mtime > LEASE_S
    except FileNotFoundError:
        return True


def _stop_on_signal() -> list[int]:
    """Let SIGTERM and SIGINT end the sweep; the list fills then.

    systemd and a terminal signal the run under way as well, which ends at once; a signal to this
    process alone lets it finish.
    """
    seen: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        seen.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    return seen
