"""The `Work` of a cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paretopipe_runtime import forked
from paretopipe_runtime.contract.candidates import Candidate
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.plan import Plan, cap, read_plan
from paretopipe_runtime.contract.splits import split_name
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.judging.doubtful import expected_cv
from paretopipe_runtime.orchestrator import adaptive, doubtful, noise, record
from paretopipe_runtime.orchestrator.drive import drive
from paretopipe_runtime.orchestrator.foreseen import foreseen, in_time
from paretopipe_runtime.orchestrator.pace import load_estimate
from paretopipe_runtime.orchestrator.prepared import Prepared, prepare
from paretopipe_runtime.orchestrator.runs import More, Run, Work, expand, stages_of
from paretopipe_runtime.prediction import sources
from paretopipe_runtime.prediction.candidates import candidates as predict
from paretopipe_runtime.records import Records
from paretopipe_runtime.wire.keys import Keys


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
        return _work(_Rounds(plan, prepared, estimate_s, ()), more, records.runs)
    candidates, more = doubtful.begun(plan, records)
    if not candidates:
        candidates = predict(plan, *sources.read(records.path.parent), estimate_s)
    hosts = [worker.host for worker in plan.chain.workers]
    cv = expected_cv(noise.worst(records.noise or noise.load(state_dir, hosts)))
    return _work(_Rounds(plan, prepared, estimate_s, candidates, cv), more, records.runs)


def _see_reached(plan: Plan) -> None:
    """Require a relay for emulated processes on a shaped network, and only for these."""
    chain, relay = plan.chain, plan.chain.relay
    relayed = bool(chain.variant["emulation"] and chain.shaped.netem)
    if relayed != bool(relay):
        raise ParetoPipeError(
            "E_PLAN",
            f"the plan names {'a' if relay else 'no'} relay, and its scenario {chain.scenario} "
            f"is {'one' if relayed else 'none'} that a relay shapes — playbooks/measure.yml starts "
            "it for those, and names it",
        )


@dataclass(frozen=True)
class _Rounds:
    """What a plan's further rounds are chosen by: `candidates` and `cv` if it is a doubtful one."""

    plan: Plan
    prepared: Prepared
    estimate_s: dict[str, float]
    candidates: tuple[Candidate, ...]
    cv: float = 0.0

    def wanted(self, more: tuple[More, ...], records: Sequence[Record]) -> More | None:
        plan, hop_bytes = self.plan, self.prepared.hop_bytes
        if plan.doubtful is None and plan.refine is None:
            return None

        def choose() -> dict[str, Any] | None:
            if plan.doubtful is None:
                return adaptive.wanted(plan, hop_bytes, records)
            return doubtful.wanted(plan, hop_bytes, self.candidates, more, records, self.cv)

        # In a child: linear algebra may start threads.
        found = forked.call(choose)
        further = More.from_json(found) if found else None
        return None if plan.doubtful is None and further in more else further

    def likely(self, more: tuple[More, ...], records: Sequence[Record]) -> list[Run]:
        """Return stand-ins for the runs that a doubtful plan may yet choose."""
        if self.plan.doubtful is None:
            return []
        chosen = sum(len(one.splits) for one in more)
        found = foreseen(self.plan, self.prepared.hop_bytes, chosen, len(more))
        about_s = {split_name(one.cuts): one.run_s for one in self.candidates}
        spent_s = sum(row.get("wall_s", 0.0) for row in records)
        return in_time(self.plan, found, about_s, spent_s)


def _work(rounds: _Rounds, more: tuple[More, ...], known: Sequence[Record]) -> Work:
    plan, prepared = rounds.plan, rounds.prepared

    def measure(run: Run, keys: Keys, run_id: str) -> dict[str, Any]:
        return record.success(plan, run, prepared, drive(plan, run, prepared, keys, run_id))

    def about(run: Run) -> dict[str, Any]:
        weights = plan.workload.weights
        stated = {"weights": weights.facts()} if weights else {}
        return {"order": run.order, "network": plan.chain.shaped.facts, **stated}

    def enlarged(records: Sequence[Record]) -> Work | None:
        further = rounds.wanted(more, records)
        return _work(rounds, (*more, further), records) if further else None

    asked: dict[str, Any] = {"more": [further.to_json() for further in more]} if more else {}
    if rounds.candidates:
        asked["candidates"] = [one.to_json() for one in rounds.candidates]
    return Work(
        kind="run",
        document={**plan.document, **asked},
        runs=expand(plan, prepared.hop_bytes, more),
        measure=measure,
        about=about,
        estimate_s=rounds.estimate_s,
        shaped=plan.chain.shaped.netem is not None,
        repeats=plan.repeats,
        drift_limit=plan.drift_limit if plan.sentinel else 0.0,
        hub=plan.chain.hub,
        more=enlarged,
        extensions=cap(plan) if plan.doubtful else adaptive.TIMES,
        likely=rounds.likely(more, known),
    )
