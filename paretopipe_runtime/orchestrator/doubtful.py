"""Rounds of a plan that measures only what is in doubt, chosen from predictions and records alone.

A split common to rounds does what sentinels do elsewhere, and its runs count.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from paretopipe_runtime.contract.candidates import Candidate
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.plan import Doubtful, Plan, cap
from paretopipe_runtime.contract.splits import Cuts
from paretopipe_runtime.judging.doubtful import audits_due, next_round, standing
from paretopipe_runtime.judging.model import Run
from paretopipe_runtime.orchestrator.adaptive import HopBytes, counted
from paretopipe_runtime.orchestrator.runs import More
from paretopipe_runtime.records import Records

# A split that failed so often, and never did not, is left alone.
_IN_VAIN = 2


def begun(plan: Plan, records: Records) -> tuple[tuple[Candidate, ...], tuple[More, ...]]:
    """Return the candidates and rounds of the recorded plan; none where none of them was begun."""
    recorded = records.plan or {}
    listed = recorded.get("candidates", ())
    found = tuple(map(Candidate.from_json, listed))
    same = {one.cuts for one in found} == {*plan.splits} and recorded.get("doubtful")
    tried = any(_is_of(plan, row) for row in records.runs)
    if not same or not tried:
        return (), ()
    return found, tuple(map(More.from_json, recorded.get("more", ())))


def _is_of(plan: Plan, row: Record) -> bool:
    """Tell whether a record is of a plan's workload, whatever its split and round."""
    factors = {**plan.workload.factors, "pairing": plan.pairing}
    return all(row["factors"].get(key) == value for key, value in factors.items())


@dataclass(frozen=True)
class Spent:
    """What a plan has used of its budget: runs, seconds, and the audits among them."""

    runs: int
    seconds: float
    audits: int

    @classmethod
    def of(
        cls, more: Sequence[More], runs: Mapping[Cuts, Sequence[Run]], records: Sequence[Record]
    ) -> Spent:
        """Count what was chosen, measured or in vain, and what an earlier sweep has measured."""
        chosen, measured = sum(len(one.splits) for one in more), sum(map(len, runs.values()))
        return cls(
            max(chosen, measured),
            sum(row.get("wall_s", 0.0) for row in records),
            sum(one.why.count("audit") for one in more),
        )


def wanted(
    plan: Plan,
    hop_bytes: HopBytes,
    candidates: Sequence[Candidate],
    more: Sequence[More],
    records: Sequence[Record],
    cv: float,
) -> dict[str, Any] | None:
    """Return the next round as a `More`, None if nothing is left to measure or to spend.

    Parameters
    ----------
    cv : float
        What a run is expected to scatter by.
    """
    limits = plan.doubtful
    if limits is None:
        return None
    runs = counted(plan, hop_bytes, records)
    spent, most = Spent.of(more, runs, records), cap(plan)
    now = standing(candidates, runs, limits.delta, cv, plan.seed)
    cost_s = _costs(candidates, records)
    audits = round(limits.audit * most)
    room = min(most - spent.runs, _affordable(limits, spent, cost_s))
    if room < 1:
        return None
    due = audits_due(audits, spent.audits, spent.runs / most, not now.doubtful)
    members = next_round(now, cost_s, room, due, plan.seed)
    if not members:
        return None
    chosen = sorted((now.splits[member.place], member.why) for member in members)
    splits = tuple(cuts for cuts, _ in chosen)
    have = Counter(cuts for one in more for cuts in one.splits)
    # One round: those with the fewest get one more, and all the others are in it.
    repeats = min(have[cuts] for cuts in splits) + 1
    return More(splits, repeats, tuple(why for _, why in chosen)).to_json()


def _affordable(limits: Doubtful, spent: Spent, cost_s: Sequence[float]) -> int:
    """Return how many runs of usual length the time allows, one at least while some is left."""
    if limits.within_s is None:
        return 2**31
    usual_s = statistics.median([s for s in cost_s if math.isfinite(s)] or [inf])
    return int((limits.within_s - spent.seconds) / usual_s)


def _costs(candidates: Sequence[Candidate], records: Sequence[Record]) -> list[float]:
    """Return seconds of a run of each, at the pace so far; infinite if it only ever failed."""
    about_s = {one.cuts: one.run_s for one in candidates}
    seen: dict[Cuts, list[float]] = {}
    failed: Counter[Cuts] = Counter()
    for row in records:
        cuts = tuple(row["factors"]["cuts"])
        if cuts not in about_s or "role" in row["factors"]:
            continue
        if row["status"] == "ok":
            seen.setdefault(cuts, []).append(row["wall_s"])
        elif row["status"].startswith("failed"):
            failed[cuts] += 1
    paces = [statistics.median(times) / about_s[cuts] for cuts, times in seen.items()]
    pace = statistics.median(paces) if paces else 1.0
    return [
        inf if failed[cuts] >= _IN_VAIN and cuts not in seen else pace * s
        for cuts, s in about_s.items()
    ]
