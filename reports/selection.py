"""Which attempts count, and in words why the others do not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from reports.records import Record

# A change in one of these makes runs of the same cell incomparable.
_PER_RUN = {"cuts", "split", "repeat"}


def exclusions(runs: Sequence[Record]) -> list[str]:
    """Return one text per run: empty if it counts, otherwise the reason why not.

    Per run key the latest valid attempt counts. Runs taken under settings that the cell's
    newest run no longer has do not: their numbers would be mixed with other numbers.
    """
    newest: dict[str, Record] = {}
    counting: dict[tuple[str, str], int] = defaultdict(int)
    for run in runs:
        cell = run["cell_id"]
        if cell not in newest or _started(run) > _started(newest[cell]):
            newest[cell] = run
        if run["status"] == "ok":
            counting[_key(run)] = max(counting[_key(run)], run["attempt"])
    return [_reason(run, newest[run["cell_id"]], counting[_key(run)]) for run in runs]


def _reason(run: Record, newest: Record, counting: int) -> str:
    if run["status"] != "ok":
        return str(run["status"])
    if run["attempt"] != counting:
        return f"superseded:attempt {counting} is valid too and later"
    changed = changes(run, newest)
    return f"settings:{'; '.join(changed)}" if changed else ""


def changes(run: Record, newest: Record) -> list[str]:
    """List the settings that differ from the newest run's, where both state them."""
    then, now = run["factors"], newest["factors"]
    keys = sorted(then.keys() & now.keys() - _PER_RUN)
    found = [f"{key} {then[key]}, newest {now[key]}" for key in keys if then[key] != now[key]]
    asked, asked_now = run.get("network") or {}, newest.get("network") or {}
    if "asked" in asked and "asked" in asked_now and asked["asked"] != asked_now["asked"]:
        found.append(f"network asked {asked['asked']}, newest {asked_now['asked']}")
    return found


def _key(run: Record) -> tuple[str, str]:
    return run["cell_id"], run["run_key"]


def _started(run: Record) -> str:
    return str(run.get("started_at", ""))
