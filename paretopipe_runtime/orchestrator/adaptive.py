"""Further rounds for undecided splits, chosen from the records with the report's own model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from math import log
from typing import Any

from paretopipe_runtime.contract.measures import sustained_img_s
from paretopipe_runtime.contract.plan import Plan
from paretopipe_runtime.contract.splits import Cuts, cuts_of
from paretopipe_runtime.judging import model
from paretopipe_runtime.judging.membership import Aim, decide
from paretopipe_runtime.judging.passes import whole
from paretopipe_runtime.orchestrator.runs import More, expand, run_of
from paretopipe_runtime.records import Records

LIMIT = 20  # repeats; splits still undecided stay so
FURTHER = 5
TIMES = 3  # extensions per command

HopBytes = Callable[[Cuts], list[int]]
Record = Mapping[str, Any]


def wanted(plan: Plan, hop_bytes: HopBytes, records: Iterable[Record]) -> dict[str, Any] | None:
    """Return the undecided splits, their rivals and the repeats to reach; None if all are decided.

    All get five repeats more than the undecided split with the fewest runs, at most `LIMIT`.
    """
    runs = counted(plan, hop_bytes, records)
    if plan.refine is None or not runs:
        return None
    decision = decide(model.fit(runs), (Aim(True, plan.refine), Aim(False, plan.refine)))
    undecided = {cuts for cuts, said in decision.verdict.items() if said == "undecided"}
    fewest = min((len(runs[cuts]) for cuts in undecided), default=LIMIT)
    if fewest >= LIMIT:
        return None
    splits = sorted(undecided.union(decision.rival.values()))
    return More(tuple(splits), min(LIMIT, fewest + FURTHER)).to_json()


def counted(
    plan: Plan, hop_bytes: HopBytes, records: Iterable[Record]
) -> dict[Cuts, list[model.Run]]:
    """Return the runs that count, by the report's rule: the latest valid attempt at each."""
    latest: dict[str, Record] = {}
    valid = [record for record in records if record["status"] == "ok"]
    for record in whole(valid, _place):
        key = record["run_key"]
        if "role" not in record["factors"]:
            latest[key] = max(record, latest.get(key, record), key=lambda one: one["attempt"])
    found = defaultdict(list)
    for key, record in latest.items():
        cuts, repeat = cuts_of(record["factors"]), record["factors"]["repeat"]
        if key == run_of(plan, hop_bytes, cuts, repeat).key:
            seen = record["latency"]["median_s"], sustained_img_s(record["throughput"])
            found[cuts].append(model.Run(repeat, tuple(map(log, seen))))
    return found


def _place(record: Record) -> tuple[int, int, str]:
    return record["factors"]["repeat"], record.get("block_pass", 1), record["run_key"]


def begun(plan: Plan, hop_bytes: HopBytes, records: Records) -> tuple[More, ...]:
    """Return the recorded plan's further rounds if any was begun with this plan's run keys.

    Rounds of what is in doubt are none of any other plan's, nor the other way round.
    """
    if (plan.refine is None and plan.doubtful is None) or not records.plan:
        return ()
    if bool(plan.doubtful) != bool(records.plan.get("doubtful")):
        return ()
    asked = tuple(map(More.from_json, records.plan.get("more", ())))
    known = {record["run_key"] for record in records.runs}
    further = expand(plan, hop_bytes, asked)[len(expand(plan, hop_bytes)) :]
    return asked if any(run.key in known for run in further) else ()
