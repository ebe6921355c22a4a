"""Measure what is missing of a profile: how long blocks compute, or how long a link takes.

A *sample* is one fresh launch on one worker, or one on a link for each size of payload; each is a
record. As in a sweep, state is derived from the records file, and stopping at any point loses at
most the sample under way.
"""

from __future__ import annotations

import secrets
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from paretopipe_runtime import forked
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.job import COMPLETE, INCOMPLETE, INTERRUPTED, stop_on_signal
from paretopipe_runtime.orchestrator import profile_blocks, profile_link
from paretopipe_runtime.orchestrator.loop import GIVE_UP_AFTER, MAX_ATTEMPTS, SweepFiles
from paretopipe_runtime.orchestrator.progress import Progress
from paretopipe_runtime.orchestrator.sample import Sample
from paretopipe_runtime.records import Records
from paretopipe_runtime.wire.connect import Keys


def profile(document: dict[str, Any], files: SweepFiles, keys: Keys) -> tuple[int, str]:
    """Measure what `document` plans; return the exit code, as a sweep's, and a closing sentence.

    Raises
    ------
    ParetoPipeError
        For a plan, a key or a disk that no sample could do without.
    """
    kind, samples = samples_of(document, files.state_dir)
    records = Records(files.records)
    if files.merge:
        records.merge(files.merge)
    pending = deque((sample, 1) for sample in samples if sample.key not in records.done)
    if pending:
        records.append_plan(document)
    guesses = {sample.split: sample.guess_s for sample in samples}
    progress = Progress(files.progress, document["cell_id"], samples, records.done, guesses)
    stopping = stop_on_signal()
    failures: list[str] = []  # in a row
    last_failure = ""
    while pending:
        if stopping or files.lease.expired():
            progress.write(finished=True)
            left = f"stopped with {len(pending)} samples to go"
            return INTERRUPTED, f"{left}; the same command goes on"
        sample, attempt = pending.popleft()
        progress.begin(sample)
        row = {
            "kind": kind,
            "run_key": sample.key,
            "started_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "cell_id": document["cell_id"],
            "factors": sample.factors,
            **sample.about,
            "message": "",
            **_measure(sample, keys),
        }
        if stopping and row["status"].startswith("failed"):
            pending.appendleft((sample, attempt))  # cut short by the same signal: not its fault
            continue
        row["attempt"] = records.attempts.get(sample.key, 0) + 1
        records.append(row)
        progress.end(sample, row)
        if row["status"] == "ok":
            failures.clear()
            continue
        last_failure = row["message"] or row["status"]
        failures.append(last_failure)
        if attempt < MAX_ATTEMPTS:
            pending.append((sample, attempt + 1))
        if len(failures) >= GIVE_UP_AFTER:
            progress.write(finished=True)
            gave_up = f"gave up after {len(failures)} failures in a row"
            return INCOMPLETE, f"{gave_up}: {last_failure}"
    progress.write(finished=True)
    missing = sum(sample.key not in records.done for sample in samples)
    if missing:
        lack = f"{missing} of {len(samples)} samples have no valid result"
        return INCOMPLETE, f"{lack}: {last_failure}"
    return COMPLETE, f"all {len(samples)} samples measured"


def samples_of(document: dict[str, Any], state_dir: Path) -> tuple[str, list[Sample]]:
    """Return the kind of the plan, which is its records' too, and its samples in order."""
    kind = document.get("kind")
    try:
        if kind == "profile":
            return kind, profile_blocks.samples(document, state_dir)
        if kind == "link":
            return kind, profile_link.samples(document)
    except (KeyError, TypeError, ValueError) as error:
        raise ParetoPipeError(
            "E_PLAN",
            f"the plan is malformed: {type(error).__name__} {error} — it is written by "
            "playbooks/profile.yml",
        ) from error
    raise ParetoPipeError(
        "E_PLAN",
        f"the plan's kind is {kind!r}, expected 'profile' or 'link' — `paretopipe sweep` measures "
        "the plan of a cell",
    )


def _measure(sample: Sample, keys: Keys) -> dict[str, Any]:
    """Take one sample in a fresh process; a failure is a record too."""
    run_id = f"{sample.key}-{secrets.token_hex(4)}"
    try:
        return dict(forked.call(lambda: sample.measure(keys, run_id)))
    except ParetoPipeError as error:
        return {"status": f"failed:{error.code}", "message": error.message}
