"""Records file: append-only JSON lines with checksums, the only state of a sweep.

A run is done if a line says ``ok`` for its key.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from paretopipe_runtime.contract.lines import (
    ACCURACY,
    DRIFT,
    MEASURED,
    NOISE,
    PLAN,
    SCHEMA_VERSION,
    WITHDRAWAL,
    Record,
    intact,
    sealed,
)
from paretopipe_runtime.errors import ParetoPipeError

_CLOSING_S = 3.0  # from a run's last timestamp to its record, rounding included


class Records:
    """One cell's records file; opening moves a torn last line to ``<file>.torn``.

    Raises ``E_SCHEMA`` for a newer ParetoPipe's file, ``E_DISK`` when a line cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            _make(path)
            _mend(path)
        except OSError as error:
            raise _disk(f"cannot open the records {path}", path, error) from error
        self._lines = set(lines(path))
        self.plan: Record | None = None  # the latest
        self._said: dict[str, Record] = {}  # the latest drift verdict, and noise
        self.accuracies: dict[str, Record] = {}  # the latest, by their split
        self.runs: list[Record] = []  # in order of measurement
        self.attempts: dict[str, int] = {}
        self.done: dict[str, Record] = {}
        for line in lines(path):
            self._note(parse(line, path))

    def append(self, record: Record) -> None:
        body, line = sealed(record)
        self._write(line)
        self._note(body)

    def append_plan(self, document: Record) -> None:
        """Append the plan unless it is the latest."""
        if self.plan != document:
            self.append({"kind": PLAN, "plan": document})

    def append_drift(self, cell_id: str, verdict: Record) -> None:
        """Append the cell's drift verdict unless it is the latest."""
        self._append_new({"kind": DRIFT, "cell_id": cell_id, **verdict})

    def append_noise(self, cell_id: str, noise: Record) -> None:
        """Append the scatter of the cell's hosts unless it is the latest or was not measured."""
        if noise:
            self._append_new({"kind": NOISE, "cell_id": cell_id, **noise})

    def append_accuracy(self, cell_id: str, known: Record) -> None:
        """Append a split's accuracy, or why none is known, unless it is the latest."""
        record = {"kind": ACCURACY, "cell_id": cell_id, **known}
        latest = self.accuracies.get(str(known.get("cuts")), {})
        if any(latest.get(key) != value for key, value in record.items()):
            self.append(record)

    @property
    def noise(self) -> Record:
        """The latest scatter of the cell's hosts, empty if none was measured."""
        return self._said.get(NOISE, {})

    def merge(self, other: Path) -> int:
        """Append the lines of `other` that this file lacks; return their number."""
        added = 0
        for line in lines(other) if other.exists() else ():
            if line not in self._lines:
                self._write(line)
                self._note(parse(line, other))
                added += 1
        return added

    def withdraw(self, since: float, reason: str) -> int:
        """Invalidate valid runs that ended after `since`, in Unix time, and return their number.

        The run's own line stays; one with status ``invalid:<reason>`` follows.
        """
        runs = [run for run in self.runs if run["status"] == "ok" and _ended(run) >= since]
        for run in runs:
            place = {key: run[key] for key in ("cell_id", "run_key", "attempt")}
            self.append({"kind": WITHDRAWAL, **place, "status": f"invalid:{reason}"})
        return len(runs)

    def _note(self, record: Record | None) -> None:
        if record is None:
            return
        if record.get("kind") == PLAN:
            self.plan = record["plan"]
        elif record.get("kind") in MEASURED:
            key = record["run_key"]
            self.runs.append(record)
            self.attempts[key] = max(self.attempts.get(key, 0), record["attempt"])
            if record["status"] == "ok":
                self.done.setdefault(key, record)
        elif record.get("kind") == WITHDRAWAL:
            self._withdraw(record)
        elif record.get("kind") in (DRIFT, NOISE):
            self._said[record["kind"]] = record
        elif record.get("kind") == ACCURACY:
            self.accuracies[str(record.get("cuts"))] = record

    def _append_new(self, record: Record) -> None:
        latest = self._said.get(record["kind"], {})
        if any(latest.get(key) != value for key, value in record.items()):
            self.append(record)

    def _withdraw(self, record: Record) -> None:
        key = record["run_key"]
        of_run = [run for run in self.runs if run["run_key"] == key]
        for run in of_run:
            if run["attempt"] == record["attempt"]:
                run["status"] = record["status"]
        self.done.pop(key, None)
        if valid := [run for run in of_run if run["status"] == "ok"]:
            self.done[key] = valid[0]

    def _write(self, line: bytes) -> None:
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                size = os.fstat(descriptor).st_size
                try:
                    _write_all(descriptor, line)
                    os.fsync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, size)  # half a line is no record
                    raise
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _disk(f"cannot write a record to {self.path}", self.path, error) from error
        self._lines.add(line)


def _ended(run: Record) -> float:
    """Return the latest Unix time at which the run's record can have been written."""
    began = datetime.strptime(run["started_at"], "%Y-%m-%dT%H:%M:%S%z")
    return began.timestamp() + float(run["wall_s"]) + _CLOSING_S


def _disk(what: str, path: Path, error: OSError) -> ParetoPipeError:
    free = ""
    with contextlib.suppress(OSError):
        free = f" ({shutil.disk_usage(path.parent).free} B free)"
    return ParetoPipeError(
        "E_DISK",
        f"{what}: {error.strerror}{free} — free some space there and give the same command again; "
        "every earlier record is safe",
    )


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def lines(path: Path) -> Iterator[bytes]:
    """Yield a file's complete lines; none if there is no file."""
    if path.exists():
        with path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))


def _make(path: Path) -> None:
    """Create the file and sync its folder, without which the name may be lost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644))
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _mend(path: Path) -> None:
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.with_name(path.name + ".torn").open("ab") as torn:
            torn.write(data[whole:] + b"\n")
            torn.flush()
            os.fsync(torn.fileno())
        os.truncate(path, whole)


def parse(line: bytes, path: Path) -> Record | None:
    """Return the record on `line`, None if its checksum is wrong; raises ``E_SCHEMA`` as above."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or not intact(line, record):
        return None
    if record["schema_version"] > SCHEMA_VERSION:
        raise ParetoPipeError(
            "E_SCHEMA",
            f"{path} has records of schema {record['schema_version']}, this version "
            f"reads up to {SCHEMA_VERSION} — install a newer ParetoPipe",
        )
    del record["crc32"]
    return record
