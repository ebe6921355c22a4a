"""Reader of record files: one JSON record a line, verified by its checksum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from paretopipe_runtime.contract.lines import MEASURED, PLAN, SCHEMA_VERSION, Record, intact
from reports.data import shape
from reports.data.lines import lines, parse
from reports.data.reduce import Reducer
from reports.data.text import clean
from reports.errors import ReportError
from reports.parallel import map_forked

_LARGE = 20e6  # bytes worth forking for


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
    models: tuple[str, ...]  # whose runs, plans and profiles are in it


@dataclass(frozen=True)
class Records:
    """All readable records of a folder, in file and line order; runs are reduced by `Reducer`."""

    files: tuple[CellFile, ...]
    plans: tuple[Record, ...]
    runs: tuple[Record, ...]
    profiles: tuple[Record, ...] = ()
    links: tuple[Record, ...] = ()
    drifts: tuple[Record, ...] = ()  # limits, and the rounds beyond them


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
        raise ReportError(
            f"E_NO_RESULTS: {folder} is not a folder, expected one with .jsonl cell files "
            "— run a sweep first, or name its results folder"
        )
    paths = [path for path in sorted(folder.glob("*.jsonl")) if path.is_file()]
    found = _forked(paths, processes, meanwhile) or _Found.of(paths)
    if not any((found.plans, found.runs, found.profiles, found.links)):
        raise ReportError(
            f"E_NO_RECORDS: {folder} holds {len(paths)} .jsonl files and no readable record, "
            "expected at least one — run a sweep first, or name its results folder"
        )
    return Records(
        *(tuple(found.files), tuple(found.plans), tuple(found.runs)),
        *(tuple(found.profiles), tuple(found.links), tuple(found.drifts)),
    )


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
    plans: list[Record] = field(default_factory=list)
    runs: list[Record] = field(default_factory=list)
    profiles: list[Record] = field(default_factory=list)
    links: list[Record] = field(default_factory=list)
    drifts: list[Record] = field(default_factory=list)
    seen: dict[tuple[str, str, int], bool] = field(default_factory=dict)  # whether it was kept
    withdrawn: dict[tuple[str, str, int], str] = field(default_factory=dict)
    reducer: Reducer = field(default_factory=Reducer)

    @classmethod
    def of(cls, paths: Sequence[Path]) -> _Found:
        found = cls()
        for path in paths:
            found.files.append(found._read(path))
        return found

    def join(self, other: _Found) -> bool:
        """Merge with another; False if both have the same attempt."""
        if not self.seen.keys().isdisjoint(other.seen):
            return False
        self.files += other.files
        self.plans += other.plans
        self.runs += other.runs
        self.profiles += other.profiles
        self.links += other.links
        self.drifts += other.drifts
        self.seen |= other.seen
        return True

    def _read(self, path: Path) -> CellFile:
        models: set[str] = set()
        counts: Counter[str] = Counter()
        damaged: list[int] = []
        torn = False
        for number, line, whole in lines(path):
            outcome, named = self._take(line, path, number)
            counts[outcome] += 1
            models.update(named)
            if outcome == "damaged":
                # Only the last line can lack its newline: a write that never finished.
                torn = torn or not whole
                damaged += [number] if whole else []
        for run in self.runs if self.withdrawn else ():
            if (place := _place(run)) in self.withdrawn:
                run["status"] = self.withdrawn[place]
        return CellFile(
            name=clean(path.name),
            path=path,
            size=path.stat().st_size,
            runs=counts["kept"],
            torn=torn,
            damaged=tuple(damaged),
            duplicates=counts["repeated"],
            unknown=counts["unknown"],
            models=tuple(sorted(models)),
        )

    def _take(self, line: bytes, path: Path, number: int) -> tuple[str, list[str]]:
        """Keep a line's record; return the outcome and its models."""
        record = parse(line)
        kind = _kind(line, record, path, number) if record else None
        if record is None or kind is None:
            return "damaged", []
        if kind not in _KINDS:
            return "unknown", []
        place = _place(record) if kind in MEASURED else None
        if place and self.seen.get(place):
            return "repeated", []
        models = _KINDS[kind](self, record)
        if place:
            self.seen[place] = models is not None
        if models is None:
            return "damaged", []
        return "kept" if kind in MEASURED else kind, models

    def _plan(self, record: Record) -> list[str] | None:
        plan = record.get("plan")
        if not isinstance(plan, dict) or not shape.plan(plan):
            return None
        if not plan.get("kind"):  # a profile's or a link's says nothing about splits
            self.plans.append(record)
        return [plan["model"]] if plan.get("model") else []

    def _run(self, record: Record) -> list[str] | None:
        run = self.reducer.run(record)
        if run is None:
            return None
        self.runs.append(run)
        return [run["factors"]["model"]] if run["factors"].get("model") else []

    def _withdrawal(self, record: Record) -> list[str] | None:
        """Withdraw an attempt of this file, whatever its own line says."""
        place, status = _place(record), record.get("status")
        if place is None or not (isinstance(status, str) and status.startswith("invalid:")):
            return None
        self.withdrawn[place] = clean(status)
        return []

    def _profile(self, record: Record) -> list[str] | None:
        if not (shape.attempt(record) and shape.settings(record["factors"])):
            return None
        self.profiles.append(record)
        return [str(record["factors"].get("model"))]

    def _link(self, record: Record) -> list[str] | None:
        if not (shape.attempt(record) and shape.settings(record["factors"])):
            return None
        self.links.append(record)
        return []

    def _drift(self, record: Record) -> list[str] | None:
        if not shape.drift(record):
            return None
        self.drifts.append(record)
        return []


def _forked(
    paths: Sequence[Path], processes: int, meanwhile: Callable[[], None] = lambda: None
) -> _Found | None:
    """Read files in parallel; None if too small, or if they repeat each other."""
    if processes < 2 or sum(path.stat().st_size for path in paths) < _LARGE:
        return None
    found = _Found()
    # Duplicates across files need sequential reading: the first counts.
    parts = map_forked(_alone, paths, processes, meanwhile)
    return found if all(map(found.join, parts)) else None


def _alone(path: Path) -> _Found:
    found = _Found.of([path])
    found.reducer = Reducer()  # not worth sending back
    return found


_KINDS: dict[str, Callable[[_Found, Record], list[str] | None]] = {
    "plan": _Found._plan,
    "run": _Found._run,
    "profile": _Found._profile,
    "link": _Found._link,
    "withdrawal": _Found._withdrawal,
    "drift": _Found._drift,
}


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
