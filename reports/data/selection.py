"""Selection of the attempts that count, with reasons for the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from paretopipe_runtime.contract.factors import OF_WORKER
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.splits import cuts_of
from paretopipe_runtime.contract.values import clean
from paretopipe_runtime.judging.passes import whole
from reports.data.reduce import END_POINT, SENTINEL, SPLIT

# Factors that vary within a cell; runs that differ in others are incomparable.
_PER_RUN = {"cuts", "codec", "split", "repeat", "role", "sentinel"}
# An end point on the first host has no other hosts and no hub.
_BY_STAGE = ("hosts", *(factor.key for factor in OF_WORKER))
_PLACES = {*_BY_STAGE, "hub"}
# On rate-limited links shorter for splits that send much, with a larger window for others.
PHASES = ("warmup_batches", "latency_batches", "throughput_batches", "window")
_WATCH = "sentinel:it watches its round for drift and is no replicate of its split"


def settings(run: Record) -> Record:
    """Return the factors common to a cell's runs."""
    left_out = _PER_RUN.union(PHASES if _limited(run) else ())
    left_out |= _PLACES if run["role"] == END_POINT else set()
    return {key: value for key, value in run["factors"].items() if key not in left_out}


def bases(runs: Sequence[Record]) -> dict[str, Record]:
    """Return, by cell, the newest run, whose settings are the cell's.

    Valid runs first, as failed ones displace nothing; then ordinary splits, as end points lack
    hosts.
    """

    def rank(run: Record) -> tuple[bool, bool, str]:
        return run["status"] == "ok", run["role"] == SPLIT, run["started_at"] or ""

    return _best(runs, lambda run: run["cell_id"], rank)


def exclusions(runs: Sequence[Record]) -> list[str]:
    """Return one text per run: empty if it counts, else the reason.

    The latest valid attempt of each key counts, if its settings are still the cell's and its pass
    of the round is complete.
    """
    cell = bases(runs)
    split = _best(runs, _split, lambda run: (run["status"] == "ok", run["started_at"] or ""))
    counting: dict[tuple[str, str], Record] = {}
    valid = [run for run in runs if run["status"] == "ok"]
    for run in whole(valid, _place):
        key = run["cell_id"], run["run_key"]
        if key not in counting or run["attempt"] > counting[key]["attempt"]:
            counting[key] = run
    # Compare each pair of settings once: runs share them.
    compared: dict[tuple[int, ...], str] = {}

    def changed(run: Record) -> str:
        base, alike = cell[run["cell_id"]], split[_split(run)]
        place = (id(run["factors"]), id(run["network"]), id(base), id(alike))
        if place not in compared:
            found = changes(run, base)
            found += _differences(_phases(run), _phases(alike)) if _limited(run) else []
            compared[place] = f"settings:{'; '.join(found)}" if found else ""
        return compared[place]

    return [_reason(run, counting, changed) for run in runs]


def _reason(
    run: Record, counting: dict[tuple[str, str], Record], changed: Callable[[Record], str]
) -> str:
    if run["status"] != "ok":
        return str(run["status"])
    latest = counting.get((run["cell_id"], run["run_key"]))
    if latest is None or run["block_pass"] > latest["block_pass"]:
        return "superseded:round not measured again as a whole, so its first pass counts"
    if run["attempt"] != latest["attempt"]:
        if run["block_pass"] < latest["block_pass"]:
            return "superseded:round measured again, its sentinel shifted"
        return f"superseded:attempt {latest['attempt']} is valid too and later"
    return changed(run) or run["problem"] or (_WATCH if run["role"] == SENTINEL else "")


def changes(run: Record, newest: Record) -> list[str]:
    """List the differences of settings from the newest run's; unrecorded differs from any value."""
    own, current = settings(run), settings(newest)
    if run["role"] == END_POINT:
        current = {key: value for key, value in current.items() if key not in _PLACES}
        places = [key for key in _BY_STAGE if key in newest["factors"]]
        own |= {key: run["factors"].get(key) for key in places}
        # An end point compares with the splits' first hosts.
        current |= {key: _first(newest["factors"][key], own[key]) for key in places}
    found = _differences(own, current)
    stated = "netem" in run["factors"] and "netem" in newest["factors"]
    asked, asked_now = run["network"].get("asked"), newest["network"].get("asked")
    if not stated and asked != asked_now:
        found.append(f"network asked {asked}, newest {asked_now}")
    return [clean(text) for text in found]


def _first(values: Any, like: Any) -> Any:
    both = isinstance(values, list) and isinstance(like, list)
    return values[: len(like)] if both else values


def _differences(then: Record, now: Record) -> list[str]:
    return [
        f"{key} {said(then, key)}, newest {said(now, key)}"
        for key in sorted(then.keys() | now.keys())
        if (key in then, then.get(key)) != (key in now, now.get(key))
    ]


def said(factors: Record, key: str) -> str:
    if key not in factors:
        return "not recorded"
    value: Any = factors[key]
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def _best(
    runs: Sequence[Record], key: Callable[[Record], Any], rank: Callable[[Record], Any]
) -> dict[Any, Record]:
    """Return, by key, the first of the highest-ranking runs."""
    together: dict[Any, list[Record]] = defaultdict(list)
    for run in runs:
        together[key(run)].append(run)
    return {place: max(group, key=rank) for place, group in together.items()}


def _limited(run: Record) -> bool:
    first = run["factors"].get("netem") or run["network"].get("asked")
    hops = (first, *(run["factors"].get("later_netem") or ()))
    return any(isinstance(asked, dict) and asked.get("rate") for asked in hops)


def _phases(run: Record) -> Record:
    return {key: run["factors"][key] for key in PHASES if key in run["factors"]}


def _place(run: Record) -> tuple[tuple[str, int | None], int, str]:
    return (run["cell_id"], run["repeat"]), run["block_pass"], run["run_key"]


def _split(run: Record) -> tuple[Any, ...]:
    return run["cell_id"], run["role"], cuts_of(run["factors"])
