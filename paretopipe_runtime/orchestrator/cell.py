"""The `Work` of a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from paretopipe_runtime import forked
from paretopipe_runtime.contract.candidates import Candidate
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.plan import Plan, cap, read_plan
from paretopipe_runtime.contract.splits import split_name
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.judging.doubtful import expected_cv
from paretopipe_runtime.judging.expectation import Expected
from paretopipe_runtime.orchestrator import accuracy, adaptive, doubtful, noise, record
from paretopipe_runtime.orchestrator.drive import drive
from paretopipe_runtime.orchestrator.foreseen import foreseen, in_time
from paretopipe_runtime.orchestrator.pace import load_estimate
from paretopipe_runtime.orchestrator.prepared import Prepared, prepare
from paretopipe_runtime.orchestrator.runs import (
    More,
    Run,
    Work,
    end_points,
    expand,
    run_of,
    stages_of,
)
from paretopipe_runtime.prediction import sources
from paretopipe_runtime.prediction.candidates import candidates as predict
from paretopipe_runtime.records import Records
from paretopipe_runtime.wire.keys import Keys

# What a run of a doubtful plan is for, as told while it runs.
_WHY = {
    "doubt": "in doubt",
    "audit": "checks its prediction",
    "common": "compares rounds",
    "end_point": "does splitting pay?",
}


def work_of(document: dict[str, Any], records: Records, state_dir: Path) -> Work:
    """Return the cell's work, further rounds already begun included.

    Raises
    ------
    ParetoPipeError
        For an unusable plan, or one that measures what is in doubt without a profile.
    """
    plan = read_plan(document)
    _see_reached(plan)
    prepared = prepare(plan.workload, state_dir, stages_of(plan))
    estimate_s = load_estimate(state_dir, plan.cell_id)
    if plan.doubtful is None:
        more = adaptive.begun(plan, prepared.hop_bytes, records)
        rounds = _Rounds(plan, prepared, state_dir, estimate_s)
        return _work(rounds, more, records.runs)
    candidates, more, told = doubtful.begun(plan, prepared.hop_bytes, records)
    if not candidates:
        candidates = predict(plan, *sources.read(records.path.parent), estimate_s)
    hosts = [worker.host for worker in plan.chain.hosts]
    cv = expected_cv(noise.worst(records.noise or noise.load(state_dir, hosts)))
    given = plan, prepared, state_dir, estimate_s, candidates, cv, told
    rounds = _Rounds(*given, records.accuracies)
    return _work(rounds, more, records.runs)


def _see_reached(plan: Plan) -> None:
    """Require a relay for emulated processes on a shaped network, and only for these."""
    chain, relay = plan.chain, plan.chain.relay
    relayed = bool(chain.variant["emulation"] and chain.shaped)
    if relayed != bool(relay):
        raise ParetoPipeError(
            "E_PLAN",
            f"the plan names {'a' if relay else 'no'} relay, and its scenario {chain.scenario} "
            f"is {'one' if relayed else 'none'} that a relay shapes — playbooks/measure.yml starts "
            "it for those, and names it",
        )


@dataclass(frozen=True)
class _Rounds:
    """Facts that choose a plan's further rounds; all but the first three of a doubtful one only.

    `told` is what to expect of it, if that is known already; `accuracies` are complete from the
    first run on.
    """

    plan: Plan
    prepared: Prepared
    state_dir: Path
    estimate_s: dict[str, float]
    candidates: tuple[Candidate, ...] = ()
    cv: float = 0.0
    told: Expected | None = None
    accuracies: Mapping[str, Record] = field(default_factory=dict)

    def enlarged(self, more: tuple[More, ...], records: Sequence[Record]) -> Work | None:
        """Return the work with the next round, None if there is none."""
        plan, hop_bytes = self.plan, self.prepared.hop_bytes
        # In children: linear algebra may start threads.
        if plan.doubtful:
            kept = doubtful.worth_running(plan, self.candidates, self.accuracies)
            given = plan, hop_bytes, kept, more, records, self.cv, self.told
            found = forked.call(lambda: doubtful.wanted(*given))
            if not found:
                return None
            round_, told = More.from_json(found[0]), Expected(**found[1])
            note = str(told) if told.sweeps and not self.told else ""
            return _work(replace(self, told=told), (*more, round_), records, note)
        if plan.refine is None:
            return None
        found = forked.call(lambda: adaptive.wanted(plan, hop_bytes, records))
        further = More.from_json(found) if found else None
        return _work(self, (*more, further), records) if further and further not in more else None

    def likely(self, more: tuple[More, ...], records: Sequence[Record]) -> list[Run]:
        """Return stand-ins for the runs that a doubtful plan may yet choose."""
        plan, hop_bytes = self.plan, self.prepared.hop_bytes
        if plan.doubtful is None:
            return []
        spent = doubtful.spent(plan, adaptive.counted(plan, hop_bytes, records), more, records)
        found = foreseen(plan, hop_bytes, spent.runs, len(more))
        about_s = {split_name(one.cuts): one.run_s for one in self.candidates}
        ends = () if more else end_points(plan)
        return [
            *(run_of(plan, hop_bytes, cuts, 1, 0, "end_point") for cuts in ends),
            *in_time(plan, found, about_s, spent.seconds),
        ]


def _work(rounds: _Rounds, more: tuple[More, ...], known: Sequence[Record], note: str = "") -> Work:
    plan, prepared = rounds.plan, rounds.prepared

    def measure(run: Run, keys: Keys, run_id: str) -> dict[str, Any]:
        return record.success(plan, run, prepared, drive(plan, run, prepared, keys, run_id))

    def about(run: Run) -> dict[str, Any]:
        weights = plan.workload.weights
        stated = {"weights": weights.facts()} if weights else {}
        return {"order": run.order, "network": plan.chain.network_facts, **stated}

    def why(run: Run) -> str:
        round_ = more[run.repeat - 1]
        reasons = dict(zip(round_.splits, round_.why, strict=True))
        return f"round {run.repeat}, {_WHY[reasons.get(run.cuts, run.role)]}"

    asked: dict[str, Any] = {"more": [further.to_json() for further in more]} if more else {}
    if rounds.candidates:
        asked["candidates"] = [one.to_json() for one in rounds.candidates]
    if 0 < len(rounds.candidates) < len(plan.splits):
        asked["predicted"] = len(plan.splits)
    if rounds.told and rounds.told.sweeps:
        asked["expected"] = rounds.told.to_json()
    return Work(
        kind="run",
        document={**plan.document, **asked},
        runs=expand(plan, prepared.hop_bytes, more),
        measure=measure,
        about=about,
        estimate_s=rounds.estimate_s,
        shaped=plan.chain.shaped,
        repeats=plan.repeats,
        drift_limit=plan.drift_limit if plan.sentinel else 0.0,
        hub=plan.chain.hub,
        more=lambda records: rounds.enlarged(more, records),
        extensions=cap(plan) if plan.doubtful else adaptive.TIMES,
        likely=rounds.likely(more, known),
        note=note,
        why=why if plan.doubtful else lambda _run: "",
        accuracy=partial(accuracy.measure, plan, prepared, rounds.state_dir),
    )
