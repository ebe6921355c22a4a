"""The measuring loop: round by round, each run in fresh processes, each a record.

All state is derived from the records file: stopping loses at most the current run.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paretopipe_runtime import forked
from paretopipe_runtime.contract.chain import every
from paretopipe_runtime.contract.replicas import hosts_of, place_of
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.job import COMPLETE, INCOMPLETE, INTERRUPTED, Lease, stop_on_signal
from paretopipe_runtime.orchestrator import (
    absence,
    cell,
    noise,
    postmortem,
    profile_blocks,
    profile_link,
)
from paretopipe_runtime.orchestrator.pace import learned
from paretopipe_runtime.orchestrator.progress import Progress
from paretopipe_runtime.orchestrator.rounds import (
    Drift,
    Log,
    Round,
    Step,
    again,
    needed,
    outstanding,
    rounds_of,
    steps,
)
from paretopipe_runtime.orchestrator.runs import Run, Work
from paretopipe_runtime.orchestrator.shaping import Network
from paretopipe_runtime.records import Records
from paretopipe_runtime.wire.keys import Keys

MAX_ATTEMPTS = 2  # of one run within one pass of its round and one command
GIVE_UP_AFTER = 4  # failures in a row: the host or the link is gone, not one run unlucky
# Out of memory: the next split may fit.
ITS_OWN_FAULT = frozenset({"failed:E_OOM", "failed:E_MEMORY"})


@dataclass(frozen=True)
class SweepFiles:
    records: Path
    merge: Path | None
    progress: Path | None
    lease: Lease
    state_dir: Path
    agent_wait_s: float = absence.LIMIT_S
    network: Network | None = None  # of a detached sweep; else the controller sees to it


def measure(
    document: dict[str, Any],
    files: SweepFiles,
    keys: Keys,
    first: int | None = None,
    stopping: list[int] | None = None,
) -> tuple[int, str]:
    """Measure what the records lack of a plan; return the exit code and a closing sentence.

    With `first`, only so many rounds: drifted and further rounds are left to a later call.
    `stopping` has the stop signals that a caller collects.

    Raises
    ------
    ParetoPipeError
        For an unusable plan, key or disk.
    """
    records = Records(files.records)
    if files.merge:
        records.merge(files.merge)
    if "kind" in document:
        work = profile_of(document, files.state_dir)
    else:
        work = cell.work_of(document, records, files.state_dir)
    stopping = stop_on_signal() if stopping is None else stopping
    loop = _Loop(work, keys, records, files, first, stopping)
    try:
        loop.complete()
    except _Ended as ended:
        code, sentence = ended.args
        return code, sentence
    finally:
        loop.progress.write(finished=True)
        if work.kind == "run":
            loop.progress.learned.save(files.state_dir, document["cell_id"])
    total, missing = f"{loop.progress.total} {loop.noun}", loop.progress.left
    if missing:
        return INCOMPLETE, f"{missing} of {total} have no valid result: {loop.last_failure}"
    return (
        COMPLETE,
        f"all {total} measured" if loop.progress.total else "nothing is left to measure",
    )


def profile_of(document: dict[str, Any], state_dir: Path) -> Work:
    """Return the work of a profile.

    Raises
    ------
    ParetoPipeError
        For an unusable plan.
    """
    kind = document["kind"]
    try:
        if kind == "profile":
            return profile_blocks.work_of(document, state_dir)
        if kind == "link":
            return profile_link.work_of(document)
    except (KeyError, TypeError, ValueError) as error:
        raise ParetoPipeError(
            "E_PLAN",
            f"the plan is malformed: {type(error).__name__} {error} — it is written by "
            "playbooks/profile.yml",
        ) from error
    raise ParetoPipeError(
        "E_PLAN", f"the plan's kind is {kind!r}, expected 'profile' or 'link', or none for a cell's"
    )


class _Ended(Exception):
    """Early end of the loop: exit code and closing sentence."""


class _Loop:
    def __init__(
        self,
        work: Work,
        keys: Keys,
        records: Records,
        files: SweepFiles,
        first: int | None,
        stopping: list[int],
    ) -> None:
        self._work, self._keys, self._records, self._lease = work, keys, records, files.lease
        self._network, self._stopping = files.network, stopping
        self._whole = first is None
        self._log = log = Log(records.runs)
        self._rounds = rounds_of(work.runs)[:first]
        runs = [run for round_ in self._rounds for run in needed(round_, log)]
        left = {run.key for run in outstanding(self._rounds, log)}
        done = {run.key: records.done[run.key] for run in runs if run.key not in left}
        cell_id = work.document["cell_id"]
        cells = {path.stem for path in files.records.parent.glob("*.jsonl")} - {cell_id}
        others = [*learned(files.state_dir, cells).values()] if work.kind == "run" else []
        hosts = hosts_of(map(place_of, work.document["workers"]))
        self._noise = noise.load(files.state_dir, hosts) if work.kind == "run" else {}
        self.progress = Progress(
            *(files.progress, cell_id, runs, done, work.estimate_s, others),
            scatter=noise.worst(self._noise),
        )
        self.progress.expect(work.likely if self._whole else ())
        self._foresee()
        self._boots = postmortem.Known()
        self._patience = absence.Patience(
            files.agent_wait_s, keys, self.progress.wait, self._stop_if_told
        )
        self._failed_in_a_row = 0
        self.noun = "runs" if work.kind == "run" else "samples"
        self.last_failure = ""

    def complete(self) -> None:
        """Tell the splits' accuracy, measure the missing runs, then any further rounds."""
        for known in self._work.accuracy(self._records.accuracies, self.progress):
            self._stop_if_told()
            self._records.append_plan(self._work.document)
            self._records.append_accuracy(self._work.document["cell_id"], known)
        self._complete_rounds(self._rounds)
        for _ in range(self._work.extensions if self._whole else 0):
            self._stop_if_told()
            if self._work.likely:
                self.progress.wait("choosing what to measure")
            work = self._further()
            if work is None:
                break
            before = len(self._rounds)
            self._work, self._rounds = work, rounds_of(work.runs)
            self.progress.add(outstanding(self._rounds, self._log))
            self.progress.expect(work.likely)
            self.progress.note(work.note)
            self._foresee()
            self._complete_rounds(self._rounds[before:])
        self.progress.expect(())
        recorded, plan = self._records.plan or {}, self._work.document
        if recorded and bool(recorded.get("doubtful")) != bool(plan.get("doubtful")):
            self._records.append_plan(plan)  # it decides what the report says

    def _further(self) -> Work | None:
        try:
            return self._work.more(self._records.runs)
        except ParetoPipeError:
            self._stop_if_told()  # the same signal ended the child that chose
            raise

    def _complete_rounds(self, rounds: Sequence[Round]) -> None:
        """Measure the missing runs of some rounds, then of all that drifted once more."""
        self._take(steps(rounds, self._log, MAX_ATTEMPTS))
        if self._watched:
            drift = self._drift()
            self._records.append_drift(self._work.document["cell_id"], drift.to_record())
            self._take(again(self._rounds, self._log, drift, MAX_ATTEMPTS))

    @property
    def _watched(self) -> bool:
        return self._whole and self._work.drift_limit > 0

    def _drift(self) -> Drift:
        own = noise.worst(self._records.noise)  # not today's: the verdict is one on the records
        return Drift.of(self._rounds, self._log, self._work.drift_limit, self._work.repeats, own)

    def _take(self, todo: Iterable[Step]) -> None:
        for step in todo:
            self._stop_if_told()
            if step.round_pass > self._log.round_pass(step.round):
                self.progress.add(step.round.runs)
            self._records.append_plan(self._work.document)
            self._records.append_noise(self._work.document["cell_id"], self._noise)
            self.progress.begin(step.run, step.again or self._work.why(step.run))
            row = _measure(self._work, step.run, self._keys, self._network)
            row |= self._unheld(row["status"])
            if self._stopping and row["status"].startswith(("failed", "invalid:shaping_lost")):
                continue  # cut short by the same signal
            row |= self._boots.note(row)
            row["attempt"] = self._records.attempts.get(step.run.key, 0) + 1
            if self._work.kind == "run":
                row["block_pass"] = step.round_pass
            self._records.append(row)
            self._log.add(row)
            self.progress.end(step.run, row)
            self._note_failure(row)
            if _unanswered(row["status"]):
                self._await_agents(step.run)
            if step.run.role in ("open", "close"):
                self._foresee()

    def _foresee(self) -> None:
        if not self._watched:
            return
        beyond = self._drift().beyond
        passes = {round_.number: self._log.round_pass(round_) for round_ in self._rounds}
        closed = [round_ for round_ in self._rounds if self._log.when(round_.closing, 1)]
        waiting = sum(passes[number] == 1 for number in beyond)
        to_come = len(self._rounds) - len(closed)
        self.progress.foresee(waiting, to_come, len(closed), len(beyond))

    def _unheld(self, status: str) -> dict[str, str]:
        """Return an invalid status if the network shaping may have expired during the run.

        The controller renews both it and this lease, and the lease ends first. A detached sweep
        has it renewed after each run.
        """
        lost = self._network.lost() if self._network else ""  # after a failed run, too
        if status == "ok" and lost:
            return {"status": "invalid:shaping_lost", "message": lost}
        if status != "ok" or not self._work.shaped or not self._lease.is_old():
            return {}
        message = "the controller was gone when it ended, and the shaping may have been as well"
        return {"status": "invalid:network_unheld", "message": message}

    def _stop_if_told(self) -> None:
        if self._stopping or self._lease.expired():
            most = self.progress.left + self.progress.likely
            at_most = "at most " if self.progress.likely else ""
            left = f"stopped with {at_most}{most} {self.noun} to go"
            raise _Ended(INTERRUPTED, f"{left}; the same command goes on")

    def _note_failure(self, row: dict[str, Any]) -> None:
        """Give up after too many failures in a row."""
        if row["status"] == "ok":
            self._failed_in_a_row = 0
            return
        self.last_failure = row["message"] or row["status"]
        if row["status"] in ITS_OWN_FAULT:
            return
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= GIVE_UP_AFTER:
            gave_up = f"gave up after {self._failed_in_a_row} failures in a row"
            raise _Ended(INCOMPLETE, f"{gave_up}{self._patience.in_vain}: {self.last_failure}")

    def _await_agents(self, run: Run) -> None:
        """Wait for the run's agents; give up at once if one has another key or other code."""
        hub = (self._work.hub,) if self._work.hub else ()
        try:
            self._patience.wait((*every(run.workers), *hub))
        except ParetoPipeError as error:
            self._stop_if_told()  # the same signal ended the child that knocked
            raise _Ended(INCOMPLETE, f"gave up: {error.message}") from error


def _unanswered(status: str) -> bool:
    """Say whether a run may have ended so because an agent is away."""
    return status.startswith("failed") or status == postmortem.NODE_REBOOTED


def _measure(work: Work, run: Run, keys: Keys, network: Network | None) -> dict[str, Any]:
    """Measure one run in a fresh process; return its record even of a failure."""
    row = {
        "kind": work.kind,
        "run_key": run.key,
        "started_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "cell_id": work.document["cell_id"],
        "factors": run.factors,
        **work.about(run),
        "message": "",
    }
    run_id, began = f"{run.key}-{secrets.token_hex(4)}", time.monotonic()
    try:
        if network:
            network.begin()
        return {**row, **forked.call(lambda: work.measure(run, keys, run_id))}
    except ParetoPipeError as error:
        status, wall_s = postmortem.status(error), time.monotonic() - began
        return {**row, "status": status, "message": error.message, "wall_s": wall_s}
