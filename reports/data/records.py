"""Read record files: one JSON record a line, each with a checksum, none trusted without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reports.data import shape
from reports.data.lines import Record as Record
from reports.data.lines import checksum as checksum
from reports.data.lines import intact, lines, parse
from reports.data.reduce import Reducer
from reports.data.text import clean
from reports.errors import ReportError

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class CellFile:
    """One file as found on disk, with what could not be used of it."""

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
    """Everything readable in a results folder, in file and line order.

    A run is what `Reducer` leaves of its record; profiles and links are as they were written.
    """

    files: tuple[CellFile, ...]
    plans: tuple[Record, ...]
    runs: tuple[Record, ...]
    profiles: tuple[Record, ...] = ()
    links: tuple[Record, ...] = ()


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
    found = _Found()
    files = [found.add(path) for path in sorted(folder.glob("*.jsonl")) if path.is_file()]
    if not any((found.plans, found.runs, found.profiles, found.links)):
        raise ReportError(
            f"E_NO_RECORDS: {folder} holds {len(files)} .jsonl files and no readable record, "
            "expected at least one — run a sweep first, or name its results folder"
        )
    return Records(
        *(tuple(files), tuple(found.plans), tuple(found.runs)),
        *(tuple(found.profiles), tuple(found.links)),
    )


def host_facts(runs: Sequence[Record]) -> dict[str, list[Record]]:
    """Return what each host said of itself in these runs, every different answer once."""
    every = {id(run["hosts"]): run["hosts"] for run in runs if run.get("hosts")}
    found: dict[str, dict[int, Record]] = {}
    for hosts in every.values():
        for name, facts in hosts.items():
            found.setdefault(name, {})[id(facts)] = facts
    return {name: [*facts.values()] for name, facts in found.items()}


@dataclass
class _Found:
    """What the files read so far hold."""

    plans: list[Record] = field(default_factory=list)
    runs: list[Record] = field(default_factory=list)
    profiles: list[Record] = field(default_factory=list)
    links: list[Record] = field(default_factory=list)
    seen: set[tuple[str, str, int]] = field(default_factory=set)
    reducer: Reducer = field(default_factory=Reducer)

    def add(self, path: Path) -> CellFile:
        """Read one file."""
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
        """Keep what a line holds; return what became of it, and whose model it is about."""
        record = parse(line)
        kind = _kind(line, record, path, number) if record else None
        if record is None or kind is None:
            return "damaged", []
        if kind not in _KINDS:
            return "unknown", []
        place = _place(record)
        if place in self.seen:
            return "repeated", []
        models = _KINDS[kind](self, record)
        if models is None:
            return "damaged", []
        self.seen.update([place] if place else [])
        return "kept" if kind != "plan" else "plan", models

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


_KINDS: dict[str, Callable[[_Found, Record], list[str] | None]] = {
    "plan": _Found._plan,
    "run": _Found._run,
    "profile": _Found._profile,
    "link": _Found._link,
}


def _kind(line: bytes, record: Record, path: Path, number: int) -> str | None:
    """Return a record's kind if it is one of this version and its checksum holds."""
    version = record.get("schema_version")
    # Before the checksum: a newer version may compute it differently.
    if type(version) is int and version > SCHEMA_VERSION:
        raise ReportError(
            f"E_SCHEMA: {path} line {number} has schema_version {version}, expected at most "
            f"{SCHEMA_VERSION} — upgrade ParetoPipe on this machine, then make the report again"
        )
    kind = record.get("kind")
    # A plan line is a copy of what Ansible wrote and may carry no checksum.
    sealed = kind != "plan" or "crc32" in record
    if (
        type(version) is not int
        or version != SCHEMA_VERSION
        or (sealed and not intact(line, record))
    ):
        return None
    return kind if isinstance(kind, str) else None


def _place(record: Record) -> tuple[str, str, int] | None:
    """Return what tells an attempt from every other; nothing for a plan."""
    place = record.get("cell_id"), record.get("run_key"), record.get("attempt")
    if isinstance(place[0], str) and isinstance(place[1], str) and isinstance(place[2], int):
        return place[0], place[1], place[2]
    return None
