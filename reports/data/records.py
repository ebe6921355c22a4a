"""Reader of record files: one JSON record a line; its integrity is the contract's."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import orjson

from paretopipe_runtime.contract.lines import MEASURED, PLAN, SCHEMA_VERSION, Record, intact
from paretopipe_runtime.contract.values import clean
from paretopipe_runtime.prediction.profiles import usable
from reports.data import shape
from reports.data.reduce import Reducer
from reports.errors import ReportError
from reports.parallel import map_forked
from reports.words import listing

_LARGE = 20e6  # bytes worth forking for
# A run of 10,000 batches takes 2 MB. Longer lines are no records, and not held in memory.
LONGEST = 64 * 2**20
_AT_ONCE = 2**20  # bytes per read: records fill half of Python's default buffer


@dataclass(frozen=True)
class CellFile:
    """One record file, and its unusable parts."""

    name: str
    path: Path
    size: int  # bytes
    runs: int  # profiles and links included
    torn: bool
    damaged: tuple[int, ...]  # line numbers, from 1
    duplicates: int
    unknown: int


@dataclass(frozen=True)
class Records:
    """All readable records of a folder, in file and line order; runs are reduced by `Reducer`."""

    files: tuple[CellFile, ...]
    plans: tuple[Record, ...]
    runs: tuple[Record, ...]
    profiles: tuple[Record, ...] = ()
    links: tuple[Record, ...] = ()
    drifts: tuple[Record, ...] = ()  # limits, and the rounds beyond them
    noises: tuple[Record, ...] = ()  # hosts' own scatter, by cell; the latest holds
    accuracies: tuple[Record, ...] = ()  # of splits with a codec, by cell; the latest holds

    @property
    def name(self) -> str:
        """The sweep's name: that of the folder."""
        return clean(self.files[0].path.resolve().parent.name)


def read(folder: Path, processes: int = 1, meanwhile: Callable[[], None] = lambda: None) -> Records:
    """Read every ``*.jsonl`` file of a folder.

    Torn and damaged lines are counted, not fatal; of repeated attempts the first is kept.

    Parameters
    ----------
    processes
        Files to read in parallel; does not affect the result.
    meanwhile
        Called while other processes read.

    Raises
    ------
    ReportError
        For no folder, nothing readable, or records of a newer version.
    """
    if not folder.is_dir():
        there = sweeps(folder.parent)
        known = f"one of {listing(there, 20)}" if there else "a folder of records"
        raise ReportError(
            f"E_NO_RESULTS: no sweep {clean(folder.name)} in {folder.parent}, expected {known} — "
            "name one that is there, or measure first with playbooks/full_sweep.yml"
        )
    paths = [path for path in sorted(folder.glob("*.jsonl")) if path.is_file()]
    found = _forked(paths, processes, meanwhile) or _Found.of(paths)
    kept = found.kept
    # A profile's or a link's plan says nothing about splits.
    plans = tuple(line for line in kept[PLAN] if not line["plan"].get("kind"))
    if not any((plans, *(kept[kind] for kind in MEASURED))):
        raise ReportError(
            f"E_NO_RECORDS: {folder} holds {len(paths)} .jsonl files and no readable record, "
            "expected at least one — run a sweep first, or name its results folder"
        )
    return Records(
        tuple(found.files),
        plans,
        *(tuple(kept[kind]) for kind in ("run", "profile", "link", "drift", "noise", "accuracy")),
    )


def sweeps(folder: Path) -> list[str]:
    """Return the names of the sweeps in a folder: of those in it that hold records."""
    return sorted({clean(path.parent.name) for path in folder.glob("*/*.jsonl")})


def host_facts(runs: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the distinct descriptions of each host; an emulated one's name says so."""
    every = {
        (id(run["hosts"]), run["factors"].get("emulation")): run["hosts"]
        for run in runs
        if run.get("hosts")
    }
    found: dict[str, dict[str, Record]] = {}
    for (_, emulation), hosts in every.items():
        for host, facts in hosts.items():
            name = f"{host} ({clean(emulation)})" if emulation else host
            found.setdefault(name, {}).setdefault(repr(facts), facts)
    return {name: [*facts.values()] for name, facts in found.items()}


@dataclass
class _Found:
    files: list[CellFile] = field(default_factory=list)
    kept: dict[str, list[Record]] = field(default_factory=lambda: {kind: [] for kind in _USABLE})
    seen: dict[tuple[str, str, int], bool] = field(default_factory=dict)  # whether it was kept

    @classmethod
    def of(cls, paths: Sequence[Path]) -> _Found:
        found, reducer = cls(), Reducer()
        for path in paths:
            found.files.append(found._read(path, reducer))
        withdrawn = {_place(line): clean(line["status"]) for line in found.kept["withdrawal"]}
        for run in found.kept["run"] if withdrawn else ():
            run["status"] = withdrawn.get(_place(run), run["status"])
        return found

    def join(self, other: _Found) -> bool:
        """Merge with another; False if both have the same attempt."""
        if not self.seen.keys().isdisjoint(other.seen):
            return False
        self.files += other.files
        for kind, records in other.kept.items():
            self.kept[kind] += records
        self.seen |= other.seen
        return True

    def _read(self, path: Path, reducer: Reducer) -> CellFile:
        counts: Counter[str] = Counter()
        damaged: list[int] = []
        torn = False
        for number, line, whole in _lines(path):
            outcome = self._take(line, path, number, reducer)
            counts[outcome] += 1
            if outcome == "damaged":
                # Only the last line can lack its newline: a write that never finished.
                torn = torn or not whole
                damaged += [number] if whole else []
        return CellFile(
            name=clean(path.name),
            path=path,
            size=path.stat().st_size,
            runs=sum(counts[kind] for kind in MEASURED),
            torn=torn,
            damaged=tuple(damaged),
            duplicates=counts["repeated"],
            unknown=counts["unknown"],
        )

    def _take(self, line: bytes, path: Path, number: int, reducer: Reducer) -> str:
        """Keep a line's record; return its kind, or why it is not kept."""
        record = _parse(line)
        kind = _kind(line, record, path, number) if record else None
        if record is None or kind is None:
            return "damaged"
        if kind not in _USABLE:
            return "unknown"
        place = _place(record) if kind in MEASURED else None
        if place and self.seen.get(place):
            return "repeated"
        kept = record if _USABLE[kind](record) else None
        if kept and kind == "run":
            kept = reducer.run(kept)
        if place:
            self.seen[place] = kept is not None
        if kept is None:
            return "damaged"
        self.kept[kind].append(kept)
        return kind


def _withdraws(record: Record) -> bool:
    """Tell whether a line withdraws an attempt of its file, whatever that one's own line says."""
    status = record.get("status")
    return bool(_place(record) and isinstance(status, str) and status.startswith("invalid:"))


_USABLE: dict[str, Callable[[Record], bool]] = {
    PLAN: lambda record: shape.plan(record.get("plan")),
    "run": shape.run,
    "profile": usable,
    "link": usable,
    "withdrawal": _withdraws,
    "drift": shape.drift,
    "noise": shape.noise,
    "accuracy": shape.accuracy,
}


def _forked(
    paths: Sequence[Path], processes: int, meanwhile: Callable[[], None] = lambda: None
) -> _Found | None:
    """Read files in parallel; None if too small, or if they repeat each other."""
    if processes < 2 or sum(path.stat().st_size for path in paths) < _LARGE:
        return None
    found = _Found()
    # Duplicates across files need sequential reading: the first counts.
    parts = map_forked(_Found.of, [[path] for path in paths], processes, meanwhile)
    return found if all(map(found.join, parts)) else None


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Yield number, bytes and completeness of each non-blank line; an overlong one as empty bytes.

    Raises
    ------
    ReportError
        If the file cannot be read.
    """
    try:
        with path.open("rb", buffering=_AT_ONCE) as file:
            number = 0
            while line := file.readline(LONGEST):
                number += 1
                whole = line.endswith(b"\n")
                if not whole and len(line) == LONGEST:
                    line, whole = b"", _skip(file)
                if not line.isspace():
                    yield number, line, whole
    except OSError as error:
        raise ReportError(
            f"E_READ: {path} cannot be read ({error.strerror}), expected a cell file "
            "— check its permissions"
        ) from error


def _parse(line: bytes) -> Record | None:
    """Return a line's object, NaN and infinity as None; None if malformed."""
    try:
        record = orjson.loads(line)
    except ValueError:
        # Python's writer spells NaN, Infinity and half surrogates, which are not JSON.
        try:
            record = json.loads(line, parse_constant=lambda _: None)
            line.decode()
            json.dumps(record, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            return None
    return record if isinstance(record, dict) else None


def _skip(file: BinaryIO) -> bool:
    """Skip the rest of a line; return whether it ends."""
    while rest := file.readline(LONGEST):
        if rest.endswith(b"\n"):
            return True
    return False


def _kind(line: bytes, record: Record, path: Path, number: int) -> str | None:
    """Return the kind of an intact record of this version."""
    version = record.get("schema_version")
    # Before the checksum: a newer version may compute it differently.
    if type(version) is int and version > SCHEMA_VERSION:
        raise ReportError(
            f"E_SCHEMA: {path} line {number} has schema_version {version}, expected at most "
            f"{SCHEMA_VERSION} — upgrade ParetoPipe on this machine, then make the report again"
        )
    kind = record.get("kind")
    # Plan lines, written by Ansible, may lack a checksum.
    sealed = kind != PLAN or "crc32" in record
    if (
        type(version) is not int
        or version != SCHEMA_VERSION
        or (sealed and not intact(line, record))
    ):
        return None
    return kind if isinstance(kind, str) else None


def _place(record: Record) -> tuple[str, str, int] | None:
    """Return an attempt's identity; None for a plan."""
    place = record.get("cell_id"), record.get("run_key"), record.get("attempt")
    if isinstance(place[0], str) and isinstance(place[1], str) and isinstance(place[2], int):
        return place[0], place[1], place[2]
    return None
