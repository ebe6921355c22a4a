"""Runs: which a plan has, in which order, under which key, and how one is measured.

A *run* is one fresh launch that becomes one record: of a cell for one split and one repeat, the
replicate of every statistic; of a profile for one host, or for a link.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from paretopipe_runtime.contract.chain import Worker
from paretopipe_runtime.contract.factors import in_key
from paretopipe_runtime.contract.lines import Record, canonical
from paretopipe_runtime.contract.plan import Plan
from paretopipe_runtime.contract.splits import Cuts, split_name

if TYPE_CHECKING:
    from paretopipe_runtime.wire.connect import Keys

Member = TypeVar("Member")

#: Most seconds that one phase of a run spends on the wire before its batches are cut down.
TRANSFER_BUDGET_S = 60.0

#: What a run is for: a split's replicate, everything on one host, or a look at the round's drift.
Role = Literal["split", "end_point", "open", "close"]


@dataclass(frozen=True)
class Run:
    """One fresh launch: a chain of workers cut at `cuts`, and how many batches each phase has.

    `repeat` is the number of its round.
    """

    cuts: Cuts
    workers: tuple[Worker, ...]
    repeat: int
    order: int
    warmup_batches: int
    latency_batches: int
    throughput_batches: int
    factors: dict[str, Any]
    role: Role = "split"

    @property
    def split(self) -> str:
        """``P3``; ``P3-9`` with three stages; ``all on pi1``; a profile's host, or ``link``."""
        return str(self.factors.get("split", self.factors.get("host", "link")))

    @functools.cached_property
    def key(self) -> str:
        """16 hex digits over every factor: the identity of a measurement."""
        return hashlib.sha256(canonical(self.factors)).hexdigest()[:16]


@dataclass(frozen=True)
class More:
    """Splits that are brought to `repeats` repeats, in further rounds of their own."""

    splits: tuple[Cuts, ...]
    repeats: int

    def to_json(self) -> dict[str, Any]:
        """Return it as the plan in the records keeps it."""
        return {"splits": [*map(list, self.splits)], "repeats": self.repeats}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> More:
        """Rebuild it from there."""
        return cls(tuple(map(tuple, fields["splits"])), fields["repeats"])


@dataclass(frozen=True)
class Work:
    """What a plan has measured: its runs in their order, and how one of them is.

    `kind` is that of the records, `document` the plan as they keep it. `measure` takes a run, the
    nodes' keys and a name for the launch, works in a process of its own and returns the measured
    part of the record, `status` included; `about` is what a record says whatever comes of its run.
    `estimate_s` has seconds by the runs' `split`. The first `repeats` rounds hold every split; one
    that drifts by more than `drift_limit` is measured once more, 0: none is. `more` returns the
    work with further rounds, None where the records ask for none.
    """

    kind: str
    document: dict[str, Any]
    runs: list[Run]
    measure: Callable[[Run, Keys, str], dict[str, Any]]
    about: Callable[[Run], dict[str, Any]]
    estimate_s: dict[str, float]
    shaped: bool = False
    repeats: int = 0
    drift_limit: float = 0.0
    more: Callable[[Sequence[Record]], Work | None] = lambda _records: None


def expand(
    plan: Plan, hop_bytes: Callable[[Cuts], list[int]], more: Sequence[More] = ()
) -> list[Run]:
    """Return every run of `plan` in the order to measure them.

    Nothing here depends on what was measured, so that an interrupted sweep finds its runs again.

    Randomised complete blocks: round r has every split and both end points once, in an order seeded
    by plan and round, so that drift does not pass for a difference between splits. A sentinel, the
    same split every time, opens and closes each round.

    Parameters
    ----------
    plan : Plan
    hop_bytes : callable
        The payload bytes that one batch moves over each hop, given the cut points.
    more : sequence of More
        Further rounds, with sentinels and without end points, after those of the plan.
    """
    runs: list[Run] = []

    def add(cuts: Cuts, repeat: int, role: Role) -> None:
        runs.append(run_of(plan, hop_bytes, cuts, repeat, len(runs), role))

    for repeat, splits in enumerate(_rounds(plan, more), start=1):
        ends = end_points(plan) if repeat <= plan.repeats else ()
        if plan.sentinel:
            add(sentinel_cuts(plan), repeat, "open")
        for cuts in shuffled(plan.seed, plan.cell_id, repeat, [*splits, *ends]):
            add(cuts, repeat, "end_point" if cuts in ends else "split")
        if plan.sentinel:
            add(sentinel_cuts(plan), repeat, "close")
    return runs


def shuffled(seed: int, cell_id: str, repeat: int, members: Sequence[Member]) -> list[Member]:
    """Return `members` in the order of one repeat: seeded, so that drift favours none of them."""
    order = list(members)
    source = random.Random(f"{seed}|{cell_id}|{repeat}")  # nosec B311 # anyone may foretell it
    source.shuffle(order)
    return order


def end_points(plan: Plan) -> tuple[Cuts, ...]:
    """Return everything on the first host, and everything on the last; no plan, no end points.

    On the last: the stages before have no block and send the input on, for it is made at the edge.
    """
    return ((), (0,) * (len(plan.chain.workers) - 1)) if plan.end_points else ()


def sentinel_cuts(plan: Plan) -> Cuts:
    """Return the plan's middle split: blocks on every host, and neither end's traffic."""
    return sorted(plan.splits)[len(plan.splits) // 2]


def _rounds(plan: Plan, more: Sequence[More]) -> list[list[Cuts]]:
    """The splits of each round: the plan's repeats, then what each entry of `more` adds to them.

    An entry's rounds hold all of its splits: a split alone in a round tells nothing of the others.
    """
    rounds = [list(plan.splits) for _ in range(plan.repeats)]
    for further in more:
        have = Counter(cuts for splits in rounds for cuts in splits)
        lack = max(further.repeats - have[cuts] for cuts in further.splits)
        rounds += [list(further.splits) for _ in range(lack)]
    return rounds


def run_of(
    plan: Plan,
    hop_bytes: Callable[[Cuts], list[int]],
    cuts: Cuts,
    repeat: int,
    order: int = 0,
    role: Role = "split",
) -> Run:
    """Return the run that a plan has for some cut points in some round, under its key."""
    chain, phases = plan.chain, plan.phases
    workers = chain.workers[: len(cuts) + 1]
    transfer_s = max(map(chain.network.transfer_s, hop_bytes(cuts)))
    affordable = TRANSFER_BUDGET_S / transfer_s if transfer_s else float("inf")
    warmup = max(1, int(min(phases.warmup, affordable)))
    latency = max(min(2, phases.latency), int(min(phases.latency, affordable)))
    least = min(phases.window + 2, phases.throughput)
    throughput = max(least, int(min(phases.throughput, affordable)))
    factors = {
        **plan.workload.factors,
        **in_key(chain.variant, [worker.variant for worker in chain.workers], len(workers)),
        "pairing": plan.pairing,
        "hosts": [worker.host for worker in workers],
        "scenario": chain.network.scenario,
        "netem": chain.network.netem,
        "cuts": list(cuts),
        "split": f"all on {workers[-1].host}" if role == "end_point" else split_name(cuts),
        "repeat": repeat,
        "warmup_batches": warmup,
        "latency_batches": latency,
        "throughput_batches": throughput,
        "window": phases.window,
        "input": "resident",
    }
    if chain.hub:
        factors["hub"] = chain.hub.host
    if role == "end_point":
        factors["role"] = role
    elif role != "split":
        factors.update(role="sentinel", sentinel=role)
    return Run(cuts, workers, repeat, order, warmup, latency, throughput, factors, role)
