"""Read cell files: one JSON record a line, each with a checksum, none trusted without it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports.errors import ReportError

SCHEMA_VERSION = 1

Record = dict[str, Any]


@dataclass(frozen=True)
class CellFile:
    """One file as found on disk, with what could not be used of it."""

    name: str
    raw: bytes
    runs: int
    torn: bool
    damaged: tuple[int, ...]  # line numbers, from 1
    duplicates: int
    unknown: int


@dataclass(frozen=True)
class Records:
    """Everything readable in a results folder, in file and line order."""

    files: tuple[CellFile, ...]
    plans: tuple[Record, ...]
    runs: tuple[Record, ...]


def checksum(record: Mapping[str, Any]) -> str:
    """Return the CRC-32 of a record without its ``crc32`` key, as 8 hex digits."""
    rest = {key: value for key, value in record.items() if key != "crc32"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{zlib.crc32(text.encode()):08x}"


def read(folder: Path) -> Records:
    """Read every ``*.jsonl`` file of a results folder.

    A torn last line (the writer was killed) and damaged lines are counted, not fatal;
    a run seen twice (same key, same attempt) is kept once, whichever file repeats it.

    Raises
    ------
    ReportError
        No such folder, nothing to read in it, or records of a newer ParetoPipe.
    """
    if not folder.is_dir():
        raise ReportError(
            f"E_NO_RESULTS: {folder} is not a folder, expected one with .jsonl cell files "
            "— run a sweep first, or name its results folder"
        )
    seen: set[tuple[str, str, int]] = set()
    plans: list[Record] = []
    runs: list[Record] = []
    files = [
        _read_file(path, seen, plans, runs)
        for path in sorted(folder.glob("*.jsonl"))
        if path.is_file()
    ]
    if not plans and not runs:
        raise ReportError(
            f"E_NO_RECORDS: {folder} holds {len(files)} .jsonl files and no readable record, "
            "expected at least one — run a sweep first, or name its results folder"
        )
    return Records(tuple(files), tuple(plans), tuple(runs))


def _read_file(
    path: Path, seen: set[tuple[str, str, int]], plans: list[Record], runs: list[Record]
) -> CellFile:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ReportError(
            f"E_READ: {path} cannot be read ({error.strerror}), expected a cell file "
            "— check its permissions"
        ) from error
    lines = raw.split(b"\n")
    damaged: list[int] = []
    torn = False
    duplicates = unknown = kept = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record = _parse(line)
        if record is None or not _usable(record, path, number):
            # Only the last line can lack its newline: a write that never finished.
            if number == len(lines):
                torn = True
            else:
                damaged.append(number)
        elif record["kind"] == "plan":
            plans.append(record)
        elif record["kind"] == "run":
            key = (record["cell_id"], record["run_key"], record["attempt"])
            if key in seen:
                duplicates += 1
            else:
                seen.add(key)
                runs.append(record)
                kept += 1
        else:
            unknown += 1
    return CellFile(path.name, raw, kept, torn, tuple(damaged), duplicates, unknown)


def _parse(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _usable(record: Record, path: Path, number: int) -> bool:
    """Tell whether the checksum and the keys that the report cannot do without are there."""
    version = record.get("schema_version")
    # Before the checksum: a newer version may compute it differently.
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ReportError(
            f"E_SCHEMA: {path} line {number} has schema_version {version}, expected at most "
            f"{SCHEMA_VERSION} — upgrade ParetoPipe on this machine, then make the report again"
        )
    if version != SCHEMA_VERSION:
        return False
    kind = record.get("kind")
    # A plan line is a copy of what Ansible wrote and may carry no checksum.
    if (kind != "plan" or "crc32" in record) and record.get("crc32") != checksum(record):
        return False
    if kind == "plan":
        plan = record.get("plan")
        return isinstance(plan, dict) and isinstance(plan.get("cell_id"), str)
    if kind == "run":
        return (
            isinstance(record.get("attempt"), int)
            and all(isinstance(record.get(key), str) for key in ("run_key", "cell_id", "status"))
            and isinstance(record.get("factors"), dict)
            and isinstance(record["factors"].get("cuts"), list)
        )
    return isinstance(kind, str)
