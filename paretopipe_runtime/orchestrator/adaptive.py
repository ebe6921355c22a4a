"""Further rounds: the splits that the records leave undecided meet again, until they are decided.

Decided by the same model as the report's, from the records alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from math import log
from typing import Any

from paretopipe_runtime.contract.plan import Plan
from paretopipe_runtime.contract.splits import Cuts
from paretopipe_runtime.judging import model
from paretopipe_runtime.judging.membership import Aim, decide
from paretopipe_runtime.orchestrator.runs import More, expand, run_of
from paretopipe_runtime.records import Records

LIMIT = 20  # repeats; what is undecided after them stays so
FURTHER = 5
TIMES = 3  # that one command asks the records

HopBytes = Callable[[Cuts], list[int]]
Record = Mapping[str, Any]


def wanted(plan: Plan, hop_bytes: HopBytes, records: Iterable[Record]) -> dict[str, Any] | None:
    """Return the undecided splits and their rivals, and the repeats to bring them to, if any.

    They meet in the same rounds, as many as the undecided one with the fewest runs needs for five
    more, at most `LIMIT`.
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
    """Return the runs of each split that count, as the report does.

    The latest valid attempt at every run that `plan` has, or would have for more splits and rounds.
    """
    latest: dict[str, Record] = {}
    for record in records:
        key = record["run_key"]
        if record["status"] == "ok" and "role" not in record["factors"]:
            latest[key] = max(record, latest.get(key, record), key=lambda one: one["attempt"])
    found = defaultdict(list)
    for key, record in latest.items():
        cuts, repeat = tuple(record["factors"]["cuts"]), record["factors"]["repeat"]
        if key == run_of(plan, hop_bytes, cuts, repeat).key:
            seen = record["latency"]["median_s"], record["throughput"]["img_s"]
            found[cuts].append(model.Run(repeat, tuple(map(log, seen))))
    return found


def begun(plan: Plan, hop_bytes: HopBytes, records: Records) -> tuple[More, ...]:
    """Return the further rounds that the latest plan in the records has, where any was begun.

    Those of other settings have other keys: they are not continued.
    """
    if plan.refine is None or not records.plan:
        return ()
    asked = tuple(map(More.from_json, records.plan.get("more", ())))
    known = {record["run_key"] for record in records.runs}
    further = expand(plan, hop_bytes, asked)[len(expand(plan, hop_bytes)) :]
    return asked if any(run.key in known for run in further) else ()
