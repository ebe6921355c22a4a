"""Which attempts count, and in words why the others do not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from reports.data.records import Record

# These differ between the runs of one cell; a change in anything else makes them incomparable.
_PER_RUN = {"cuts", "split", "repeat"}
# Where a link's rate is limited the runtime shortens the phases of splits that send much.
PHASES = ("warmup_batches", "latency_batches", "throughput_batches")


def settings(run: Record) -> Record:
    """Return the factors that all runs of a cell share."""
    apart = _PER_RUN.union(PHASES if _limited(run) else ())
    return {key: value for key, value in run["factors"].items() if key not in apart}


def bases(runs: Sequence[Record]) -> dict[str, Record]:
    """Return for each cell the run whose settings are the cell's: the newest, a valid one if any.

    Valid ones first, so that an attempt at other settings that came to nothing does not push
    out what was measured.
    """
    return _newest(runs, lambda run: run["cell_id"])


def exclusions(runs: Sequence[Record]) -> list[str]:
    """Return one text per run: empty if it counts, otherwise the reason why not.

    Per run key the latest valid attempt counts. Runs taken under settings that the cell's
    newest valid run no longer has do not: their numbers would be mixed with other numbers.
    """
    cell, split = bases(runs), _newest(runs, _split)
    counting: dict[tuple[str, str], int] = defaultdict(int)
    for run in runs:
        if run["status"] == "ok":
            counting[_key(run)] = max(counting[_key(run)], run["attempt"])
    return [_reason(run, cell[run["cell_id"]], split[_split(run)], counting) for run in runs]


def _reason(run: Record, cell: Record, split: Record, counting: dict[tuple[str, str], int]) -> str:
    if run["status"] != "ok":
        return str(run["status"])
    latest = counting[_key(run)]
    if run["attempt"] != latest:
        return f"superseded:attempt {latest} is valid too and later"
    changed = changes(run, cell)
    changed += _differences(_phases(run), _phases(split)) if _limited(run) else []
    return f"settings:{'; '.join(changed)}" if changed else ""


def changes(run: Record, newest: Record) -> list[str]:
    """List the settings that differ from the newest run's; one that only one states differs too.

    A record that does not name its allocator may have been measured under any: it must not be
    mixed with one that does.
    """
    found = _differences(settings(run), settings(newest))
    asked, asked_now = run.get("network") or {}, newest.get("network") or {}
    stated = "netem" in run["factors"] and "netem" in newest["factors"]
    if not stated and asked.get("asked") != asked_now.get("asked"):
        found.append(f"network asked {asked.get('asked')}, newest {asked_now.get('asked')}")
    return found


def _differences(then: Record, now: Record) -> list[str]:
    return [
        f"{key} {said(then, key)}, newest {said(now, key)}"
        for key in sorted(then.keys() | now.keys())
        if (key in then, then.get(key)) != (key in now, now.get(key))
    ]


def said(factors: Record, key: str) -> str:
    """Return one setting as text."""
    if key not in factors:
        return "not recorded"
    value: Any = factors[key]
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _newest(runs: Sequence[Record], key: Any) -> dict[Any, Record]:
    found: dict[Any, Record] = {}
    for run in runs:
        place = key(run)
        if place not in found or _rank(run) > _rank(found[place]):
            found[place] = run
    return found


def _rank(run: Record) -> tuple[bool, str]:
    return run["status"] == "ok", str(run.get("started_at", ""))


def _limited(run: Record) -> bool:
    asked = run["factors"].get("netem") or (run.get("network") or {}).get("asked")
    return bool(isinstance(asked, dict) and asked.get("rate"))


def _phases(run: Record) -> Record:
    return {key: run["factors"][key] for key in PHASES if key in run["factors"]}


def _split(run: Record) -> tuple[Any, ...]:
    return run["cell_id"], *run["factors"]["cuts"]


def _key(run: Record) -> tuple[str, str]:
    return run["cell_id"], run["run_key"]
