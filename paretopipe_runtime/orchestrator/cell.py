"""The `Work` of a cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paretopipe_runtime import forked
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.plan import Plan, read_plan
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator import adaptive, record
from paretopipe_runtime.orchestrator.drive import drive
from paretopipe_runtime.orchestrator.pace import load_estimate
from paretopipe_runtime.orchestrator.prepared import Prepared, prepare
from paretopipe_runtime.orchestrator.runs import More, Run, Work, expand, stages_of
from paretopipe_runtime.records import Records
from paretopipe_runtime.wire.keys import Keys


def work_of(document: dict[str, Any], records: Records, state_dir: Path) -> Work:
    """Return the cell's work, further rounds already begun included.

    Raises
    ------
    ParetoPipeError
        For an unusable plan.
    """
    plan = read_plan(document)
    _see_reached(plan)
    prepared = prepare(plan.workload, state_dir, stages_of(plan))
    more = adaptive.begun(plan, prepared.hop_bytes, records)
    return _work(plan, prepared, load_estimate(state_dir, plan.cell_id), more)


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


def _work(
    plan: Plan, prepared: Prepared, estimate_s: dict[str, float], more: tuple[More, ...]
) -> Work:
    def measure(run: Run, keys: Keys, run_id: str) -> dict[str, Any]:
        return record.success(plan, run, prepared, drive(plan, run, prepared, keys, run_id))

    def about(run: Run) -> dict[str, Any]:
        weights = plan.workload.weights
        known = {"weights": weights.facts()} if weights else {}
        return {"order": run.order, "network": plan.chain.shaped.facts, **known}

    def enlarged(records: Sequence[Record]) -> Work | None:
        if plan.refine is None:
            return None
        # In a child: linear algebra may start threads.
        wanted = forked.call(lambda: adaptive.wanted(plan, prepared.hop_bytes, records))
        further = More.from_json(wanted) if wanted else None
        if not further or further in more:
            return None
        return _work(plan, prepared, estimate_s, (*more, further))

    asked = {"more": [further.to_json() for further in more]} if more else {}
    return Work(
        kind="run",
        document={**plan.document, **asked},
        runs=expand(plan, prepared.hop_bytes, more),
        measure=measure,
        about=about,
        estimate_s=estimate_s,
        shaped=plan.chain.shaped.netem is not None,
        repeats=plan.repeats,
        drift_limit=plan.drift_limit if plan.sentinel else 0.0,
        hub=plan.chain.hub,
        more=enlarged,
    )
