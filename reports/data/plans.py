"""The plan of a cell: the one in force, its splits, hosts and variant."""

from __future__ import annotations

from collections.abc import Sequence

from paretopipe_runtime.contract.candidates import Candidate
from paretopipe_runtime.contract.codecs import NONE
from paretopipe_runtime.contract.factors import FACTORS, Variant
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.models import MODELS
from paretopipe_runtime.contract.replicas import place_of
from paretopipe_runtime.contract.splits import MOST_SPLITS, Cuts, all_splits, coded, possible
from reports.data.selection import PHASES

_WEIGHTS = "weights_digest"


def in_force(proposed: Sequence[Record], factors: Record) -> Record:
    """Return the latest plan that matches the runs' factors, else the latest."""
    fits = [
        plan
        for plan in proposed
        if all(factors.get(key, plan[key]) == plan[key] for key in _alike(plan))
        # Seeded weights have no digest on either side.
        and (not factors or factors.get(_WEIGHTS) == plan.get(_WEIGHTS))
    ]
    return [{}, *proposed, *fits][-1]


def _alike(plan: Record) -> list[str]:
    """Return the settings that plans and factors state alike."""
    return [
        key
        for key, value in plan.items()
        if key not in PHASES and not isinstance(value, dict | list)
    ]


def blocks(plan: Record, model: str) -> int | None:
    """Return the number of a model's blocks, as registered or as found when it was planned."""
    if model in MODELS:
        return MODELS[model].blocks
    names = _found(plan).get("block_names")
    return len(names) if isinstance(names, list) else None


def graph(plan: Record) -> str:
    """Return the beginning of the digest of a found model's graph and cuts; empty for others."""
    return str(_found(plan).get("graph") or "")[:16]


def _found(plan: Record) -> Record:
    found = plan.get("found")
    return found if isinstance(found, dict) else {}


def cuts(plan: Record, blocks: int | None) -> tuple[Cuts, ...]:
    """Return the planned cut points; none if unknown."""
    if predicted := candidates(plan):
        return tuple(sorted({one.cuts for one in predicted}))
    splits, codecs = plan.get("splits"), codecs_of(plan)
    if isinstance(splits, list):
        return tuple(sorted({coded(cuts, name) for cuts in splits for name in codecs}))
    stages = len(plan.get("workers") or [])
    if splits == "all" and blocks and stages > 1 and possible(blocks, stages) <= MOST_SPLITS:
        return tuple(sorted(coded(c, name) for c in all_splits(blocks, stages) for name in codecs))
    return ()


def codecs_of(plan: Record) -> list[str]:
    """Return how tensors cross between hosts, each beside the others."""
    return [*dict.fromkeys(plan.get("codecs") or [NONE])]


def candidates(plan: Record) -> tuple[Candidate, ...]:
    """Return what a plan that measures what is in doubt chooses from; none of another."""
    listed = plan.get("candidates") if plan.get("doubtful") else None
    return tuple(map(Candidate.from_json, listed or ()))


def hosts(plan: Record, factors: Record) -> tuple[str, ...]:
    """Return each stage's host; several in its place are one name, as in a run's factors."""
    planned = map(place_of, plan.get("workers") or [])
    return tuple(str(host) for host in factors.get("hosts") or planned)


def variant(plan: Record, factors: Record) -> Variant:
    """Return a cell's values by factor key, a tuple over stages if per host.

    The tuple is empty if unrecorded, or if all are the default of a factor not always named. Runs
    override the plan, which may rely on its runtime's defaults.
    """
    known, workers = {**plan, **factors}, plan.get("workers") or []
    found = Variant()
    for factor in FACTORS:
        if not factor.per_host:
            found[factor.key] = str(known.get(factor.key) or factor.default)
            continue
        unsaid = "" if factor.always else factor.default
        planned = [worker.get(factor.option) or unsaid for worker in workers]
        stated = (factors.get(factor.key) if factors else planned) or ()
        values = tuple(str(value) for value in stated if value)
        found[factor.key] = values if factor.always or set(values) - {factor.default} else ()
    return found
