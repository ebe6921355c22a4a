"""Measure what is missing of one cell: block by block, each run in fresh processes, each a record.

State is derived from the records file. Stopping at any point loses at most the run under way.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paretopipe_runtime import forked
from paretopipe_runtime.contract.plan import Plan, read_plan
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.job import COMPLETE, INCOMPLETE, INTERRUPTED, Lease, stop_on_signal
from paretopipe_runtime.orchestrator import postmortem, record
from paretopipe_runtime.orchestrator.drive import drive
from paretopipe_runtime.orchestrator.pace import learned, load_estimate
from paretopipe_runtime.orchestrator.prepared import Prepared, prepare
from paretopipe_runtime.orchestrator.progress import Progress
from paretopipe_runtime.orchestrator.rounds import (
    Drift,
    Log,
    Step,
    again,
    blocks_of,
    continued,
    needed,
    outstanding,
    steps,
)
from paretopipe_runtime.orchestrator.runs import Run, expand
from paretopipe_runtime.records import Records
from paretopipe_runtime.wire.connect import Keys

MAX_ATTEMPTS = 2  # of one run within one pass of its block and one sweep
GIVE_UP_AFTER = 4  # failures in a row: the host or the link is gone, not one run unlucky
# A split that does not fit a host says nothing of the next one.
ITS_OWN_FAULT = frozenset({"failed:E_OOM", "failed:E_MEMORY"})


@dataclass(frozen=True)
class SweepFiles:
    """Where a sweep reads and writes."""

    records: Path
    merge: Path | None
    progress: Path | None
    lease: Lease
    state_dir: Path


def sweep(
    document: dict[str, Any], files: SweepFiles, keys: Keys, first: int | None = None
) -> tuple[int, str]:
    """Measure the cell that `document` plans; return the exit code and a closing sentence.

    With `first`, only so many of its blocks, for a first look: the rest, and whether one of them
    drifted, is left to a later call.

    Raises
    ------
    ParetoPipeError
        For a plan, a key or a disk that no run could do without.
    """
    records = Records(files.records)
    if files.merge:
        records.merge(files.merge)
    plan = read_plan(continued(document, records.more))
    _see_reached(plan)
    prepared = prepare(plan, files.state_dir)
    cell = _Cell(plan, prepared, keys, records, files, first)
    try:
        cell.complete()
    except _Ended as ended:
        return ended.code, ended.sentence
    finally:
        cell.progress.write(finished=True)
        cell.progress.learned.save(files.state_dir, plan.cell_id)
    total, missing = cell.progress.total, cell.progress.left
    if missing:
        return INCOMPLETE, f"{missing} of {total} runs have no valid result: {cell.last_failure}"
    return COMPLETE, f"all {total} runs measured"


def _see_reached(plan: Plan) -> None:
    """Refuse to measure processes as a network that nothing shapes, and the other way round."""
    relayed = bool(plan.emulation and plan.netem)
    if relayed != bool(plan.relay):
        raise ParetoPipeError(
            "E_PLAN",
            f"the plan names {'a' if plan.relay else 'no'} relay, and its scenario {plan.scenario} "
            f"is {'one' if relayed else 'none'} that a relay shapes — playbooks/measure.yml starts "
            "it for those, and names it",
        )


class _Ended(Exception):
    """The sweep ends before its plan does."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class _Cell:
    """One cell under way: what its records say, how far it is, what failed last."""

    def __init__(
        self,
        plan: Plan,
        prepared: Prepared,
        keys: Keys,
        records: Records,
        files: SweepFiles,
        first: int | None,
    ) -> None:
        self._plan, self._prepared, self._keys = plan, prepared, keys
        self._records = records
        self._lease = files.lease
        self._log = log = Log(records.runs)
        self._judged = first is None and plan.sentinel and plan.drift_limit > 0
        self._blocks = blocks_of(expand(plan, prepared.hop_bytes))[:first]
        runs = [run for block in self._blocks for run in needed(block, log)]
        left = {run.key for run in outstanding(self._blocks, log)}
        cells = {path.stem for path in files.records.parent.glob("*.jsonl")} - {plan.cell_id}
        self.progress = Progress(
            files.progress,
            plan.cell_id,
            runs,
            {run.key: records.done[run.key] for run in runs if run.key not in left},
            load_estimate(files.state_dir, plan.cell_id),
            [*learned(files.state_dir, cells).values()],
        )
        self._foresee()
        self._stopping = stop_on_signal()
        self._boots = postmortem.Known()
        self._failed_in_a_row = 0
        self.last_failure = ""

    def complete(self) -> None:
        """Measure what is missing, block by block, and once more the blocks that drifted."""
        self._take(steps(self._blocks, self._log, MAX_ATTEMPTS))
        if self._judged:
            limit, repeats = self._plan.drift_limit, self._plan.repeats
            drift = Drift.of(self._blocks, self._log, limit, repeats)
            self._records.append_drift(self._plan.cell_id, drift.to_record())
            self._take(again(self._blocks, self._log, drift, MAX_ATTEMPTS))

    def _take(self, todo: Iterable[Step]) -> None:
        for step in todo:
            self._stop_if_told()
            if step.block_pass > self._log.block_pass(step.block):
                self.progress.add(step.block.runs)
            self._records.append_plan(self._plan.document)
            self.progress.begin(step.run, _again(step))
            row = _measure(self._plan, step.run, self._prepared, self._keys)
            if self._stopping and row["status"].startswith("failed"):
                continue  # cut short by the same signal: not its fault
            row |= self._unheld(row["status"])
            row |= self._boots.note(row)
            row["attempt"] = self._records.attempts.get(step.run.key, 0) + 1
            row["block_pass"] = step.block_pass
            self._records.append(row)
            self._log.add(row)
            self.progress.end(step.run, row)
            self._note_failure(row)
            if step.run.role in ("open", "close"):
                self._foresee()

    def _foresee(self) -> None:
        """Tell the progress how many blocks seem to have drifted."""
        if not self._judged:
            return
        drift = Drift.of(self._blocks, self._log, self._plan.drift_limit, self._plan.repeats)
        passes = {block.number: self._log.block_pass(block) for block in self._blocks}
        closed = [block for block in self._blocks if self._log.when(block.closing, 1)]
        waiting = sum(passes[number] == 1 for number in drift.beyond)
        to_come = len(self._blocks) - len(closed)
        self.progress.foresee(waiting, to_come, len(closed), len(drift.beyond))

    def _unheld(self, status: str) -> dict[str, str]:
        """What a run is that ended without anyone who would have noticed an unshaped network.

        Shaping ends by itself some time after whoever renews it has gone, but after this lease.
        """
        if status != "ok" or self._plan.netem is None or not self._lease.is_old():
            return {}
        message = "the controller was gone when it ended, and the shaping may have been as well"
        return {"status": "invalid:network_unheld", "message": message}

    def _stop_if_told(self) -> None:
        if self._stopping or self._lease.expired():
            left = self.progress.left
            raise _Ended(INTERRUPTED, f"stopped with {left} runs to go; the same command goes on")

    def _note_failure(self, row: dict[str, Any]) -> None:
        """Keep the last failure's words, and give up where nothing but failures comes."""
        if row["status"] == "ok":
            self._failed_in_a_row = 0
            return
        self.last_failure = row["message"] or row["status"]
        if row["status"] in ITS_OWN_FAULT:
            return
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= GIVE_UP_AFTER:
            count = self._failed_in_a_row
            raise _Ended(
                INCOMPLETE, f"gave up after {count} failures in a row: {self.last_failure}"
            )


def _again(step: Step) -> str:
    """Why a block is measured again, for the progress line."""
    if step.shift is None:
        return ""
    return f"block {step.block.number} again: sentinel shifted {100 * step.shift.largest:.0f} %"


def _measure(plan: Plan, run: Run, prepared: Prepared, keys: Keys) -> dict[str, Any]:
    """Measure one run in a fresh process; a failure is a record too."""
    row = {
        "kind": "run",
        "run_key": run.key,
        "started_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "cell_id": plan.cell_id,
        "factors": run.factors,
        "order": run.order,
        "network": {"asked": plan.netem, "measured": plan.measured},
        **({"weights": plan.weights.facts()} if plan.weights else {}),
        "message": "",
    }

    def fresh() -> dict[str, Any]:
        run_id = f"{run.key}-{secrets.token_hex(4)}"
        return record.success(plan, run, prepared, drive(plan, run, prepared, keys, run_id))

    try:
        return {**row, **forked.call(fresh)}
    except ParetoPipeError as error:
        status = (
            postmortem.NODE_REBOOTED
            if error.code == postmortem.REBOOTED
            else f"failed:{error.code}"
        )
        return {**row, "status": status, "message": error.message}
