"""Rounds of a plan that measures only what is in doubt, chosen from predictions and records alone.

A split common to rounds does what sentinels do elsewhere, and its runs count.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

from paretopipe_runtime import forked
from paretopipe_runtime.contract.candidates import Candidate
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.plan import Doubtful, Plan, cap, read_plan
from paretopipe_runtime.contract.splits import Cuts, cuts_of
from paretopipe_runtime.judging.doubtful import Spending, expected_cv, further, standing
from paretopipe_runtime.judging.expectation import Expected, expect
from paretopipe_runtime.judging.model import Run
from paretopipe_runtime.orchestrator import accuracy, adaptive, noise
from paretopipe_runtime.orchestrator.adaptive import HopBytes, counted
from paretopipe_runtime.orchestrator.runs import More, end_points
from paretopipe_runtime.records import Records

# A split that failed so often, and never did not, is left alone.
_IN_VAIN = 2


def begun(
    plan: Plan, hop_bytes: HopBytes, records: Records
) -> tuple[tuple[Candidate, ...], tuple[More, ...], Expected | None]:
    """Return the recorded plan's candidates, rounds and expectation; none if it was not begun.

    What was expected under other limits is left out.
    """
    more, recorded = adaptive.begun(plan, hop_bytes, records), records.plan or {}
    found = tuple(map(Candidate.from_json, recorded.get("candidates", ())))
    asked = {*read_plan(recorded).splits} if more else {}
    if not found or asked != {*plan.splits}:
        return (), (), None
    told = recorded.get("expected")
    same = recorded["doubtful"] == plan.document["doubtful"]
    return found, more, Expected(**told) if told and same else None


def worth_running(
    plan: Plan, candidates: Sequence[Candidate], accuracies: Mapping[str, Record]
) -> tuple[Candidate, ...]:
    """Return the candidates without those that are off by accuracy, which no run changes."""
    aside = accuracy.ruled_out(plan, accuracies)
    return tuple(one for one in candidates if one.cuts not in aside)


def spent(
    plan: Plan,
    runs: Mapping[Cuts, Sequence[Run]],
    more: Sequence[More],
    records: Sequence[Record],
) -> Spending:
    """Count what was chosen, measured or in vain, and what an earlier sweep has measured."""
    chosen = {(cuts, at) for at, one in enumerate(more, start=1) for cuts in one.splits}
    measured = {(cuts, run.round) for cuts in plan.splits for run in runs.get(cuts, ())}
    audits = sum(one.why.count("audit") for one in more)
    return Spending(len(chosen | measured), audits, seconds(records))


def seconds(records: Sequence[Record]) -> float:
    """Return what all attempts took, in vain or not."""
    return math.fsum(row.get("wall_s", 0.0) for row in records)


def _most(plan: Plan, limits: Doubtful) -> Spending:
    runs = cap(plan)
    return Spending(runs, round(limits.audit * runs), limits.within_s or inf)


def wanted(
    plan: Plan,
    hop_bytes: HopBytes,
    candidates: Sequence[Candidate],
    more: Sequence[More],
    records: Sequence[Record],
    cv: float,
    told: Expected | None = None,
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return the next round as a `More`, and what to expect of the whole sweep, as JSON.

    None if nothing is left to measure or to spend.

    Parameters
    ----------
    cv : float
        What a run is expected to scatter by.
    told : Expected, optional
        What to expect, if that is known.
    """
    limits = plan.doubtful
    if limits is None:
        return None
    runs, most = counted(plan, hop_bytes, records), _most(plan, limits)
    so_far = spent(plan, runs, more, records)
    if so_far.runs >= most.runs or so_far.seconds >= most.seconds:
        return None
    now = standing(candidates, runs, limits.delta, cv, plan.seed)
    cost_s = _costs(candidates, records)
    if not more:  # the end points are measured beside the first round
        ends_s = len(end_points(plan)) * statistics.median(cost_s)
        so_far = so_far._replace(seconds=so_far.seconds + ends_s)
    members = further(now, cost_s, so_far, most, plan.seed)
    if not members:
        return None
    chosen = sorted((now.splits[member.place], member.why) for member in members)
    splits = tuple(cuts for cuts, _ in chosen)
    have = Counter(cuts for one in more for cuts in one.splits)
    # One round: those with the fewest get one more, and all the others are in it.
    repeats = min(have[cuts] for cuts in splits) + 1
    round_ = More(splits, repeats, tuple(why for _, why in chosen))
    if told is None:
        told = expect(now, candidates, runs, limits.delta, cv, cost_s, so_far, most, plan.seed)
        told = replace(told, runs=told.runs + len(end_points(plan)))
    return round_.to_json(), told.to_json()


def ended(plan: Plan, hop_bytes: HopBytes, records: Records) -> bool:
    """Tell whether a plan was begun and would choose no further round now."""
    candidates, more, told = begun(plan, hop_bytes, records)
    cv, told = expected_cv(noise.worst(records.noise)), told or Expected(0, 0, 0, 0, 0)
    kept = worth_running(plan, candidates, records.accuracies)
    given = plan, hop_bytes, kept, more, records.runs, cv, told
    return bool(candidates) and forked.call(lambda: wanted(*given)) is None


def _costs(candidates: Sequence[Candidate], records: Sequence[Record]) -> list[float]:
    """Return seconds of a run of each: its own, or at the pace so far; infinite if all failed."""
    about_s = {one.cuts: one.run_s for one in candidates}
    seen: dict[Cuts, list[float]] = {}
    failed: Counter[Cuts] = Counter()
    for row in records:
        cuts = cuts_of(row["factors"])
        if cuts not in about_s or "role" in row["factors"]:
            continue
        if row["status"] == "ok":
            seen.setdefault(cuts, []).append(row["wall_s"])
        else:
            failed[cuts] += 1
    paces = [statistics.median(times) / about_s[cuts] for cuts, times in seen.items()]
    pace = statistics.median(paces) if paces else 1.0
    return [
        statistics.median(seen[cuts])
        if cuts in seen
        else inf
        if failed[cuts] >= _IN_VAIN
        else pace * s
        for cuts, s in about_s.items()
    ]
