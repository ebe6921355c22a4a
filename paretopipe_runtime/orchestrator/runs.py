"""The runs of a cell: which there are, in which order, under which key. Data in, data out.

A *run* is one fresh launch for one split and one repeat, and the replicate of every statistic.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from paretopipe_runtime.contract.factors import in_key
from paretopipe_runtime.contract.lines import canonical
from paretopipe_runtime.contract.plan import Plan, Worker
from paretopipe_runtime.contract.splits import Cuts, split_name

#: Most seconds that one phase of a run spends on the wire before its batches are cut down.
TRANSFER_BUDGET_S = 60.0

#: What a run is for: a split's replicate, everything on one host, or a look at the block's drift.
Role = Literal["split", "end_point", "open", "close"]


@dataclass(frozen=True)
class Run:
    """One fresh launch: a chain of workers cut at `cuts`, and how many batches each phase has.

    `repeat` is the number of its block.
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
        """What the split is called: ``P3``; ``P3-9`` with three stages; ``all on pi1``."""
        return str(self.factors["split"])

    @functools.cached_property
    def key(self) -> str:
        """16 hex digits over every factor: the identity of a measurement."""
        return hashlib.sha256(canonical(self.factors)).hexdigest()[:16]


def expand(plan: Plan, hop_bytes: Callable[[Cuts], list[int]]) -> list[Run]:
    """Return every run of `plan` in the order to measure them.

    Nothing here depends on what was measured, so that an interrupted sweep finds its runs again.

    Randomised complete blocks: block r has every split and both end points once, in an order seeded
    by plan and block, so that drift does not pass for a difference between splits. A sentinel, the
    same split every time, opens and closes each block. The blocks of `more` have only its splits.

    Parameters
    ----------
    plan : Plan
    hop_bytes : callable
        The payload bytes that one batch moves over each hop, given the cut points.
    """
    runs: list[Run] = []

    def add(cuts: Cuts, repeat: int, role: Role) -> None:
        workers = plan.workers[: len(cuts) + 1]
        slowest = max(map(plan.transfer_s, hop_bytes(cuts)))
        runs.append(_run(plan, cuts, workers, repeat, len(runs), slowest, role))

    for repeat, splits in enumerate(_blocks(plan), start=1):
        ends = end_points(plan) if repeat <= plan.repeats else ()
        block = [*splits, *ends]
        seed = f"{plan.seed}|{plan.cell_id}|{repeat}"
        random.Random(seed).shuffle(block)  # nosec B311 # an order that anyone may foretell
        if plan.sentinel:
            add(sentinel_cuts(plan), repeat, "open")
        for cuts in block:
            add(cuts, repeat, "end_point" if cuts in ends else "split")
        if plan.sentinel:
            add(sentinel_cuts(plan), repeat, "close")
    return runs


def end_points(plan: Plan) -> tuple[Cuts, ...]:
    """Return everything on the first host, and everything on the last; no plan, no end points.

    On the last: the stages before have no block and send the input on, for it is made at the edge.
    """
    return ((), (0,) * (len(plan.workers) - 1)) if plan.end_points else ()


def sentinel_cuts(plan: Plan) -> Cuts:
    """Return the plan's middle split: blocks on every host, and neither end's traffic."""
    return sorted(plan.splits)[len(plan.splits) // 2]


def _blocks(plan: Plan) -> list[list[Cuts]]:
    """The splits of each block: the plan's repeats, then what each entry of `more` adds to them.

    An entry's blocks hold all of its splits: a split alone in a block tells nothing of the others.
    """
    blocks = [list(plan.splits) for _ in range(plan.repeats)]
    for more in plan.more:
        have = Counter(cuts for block in blocks for cuts in block)
        lack = max(more.repeats - have[cuts] for cuts in more.splits)
        blocks += [list(more.splits) for _ in range(lack)]
    return blocks


def _run(
    plan: Plan,
    cuts: Cuts,
    workers: tuple[Worker, ...],
    repeat: int,
    order: int,
    transfer_s: float,
    role: Role,
) -> Run:
    affordable = TRANSFER_BUDGET_S / transfer_s if transfer_s else float("inf")
    warmup = max(1, int(min(plan.warmup_batches, affordable)))
    latency = max(min(2, plan.latency_batches), int(min(plan.latency_batches, affordable)))
    least = min(plan.window + 2, plan.throughput_batches)
    throughput = max(least, int(min(plan.throughput_batches, affordable)))
    factors = {
        "model": plan.model,
        "classes": plan.classes,
        "image_px": plan.image_px,
        "batch_size": plan.batch_size,
        **in_key(plan.variant, [worker.variant for worker in plan.workers], len(workers)),
        "pairing": plan.pairing,
        "hosts": [worker.host for worker in workers],
        "scenario": plan.scenario,
        "netem": plan.netem,
        "cuts": list(cuts),
        "split": f"all on {workers[-1].host}" if role == "end_point" else split_name(cuts),
        "repeat": repeat,
        "warmup_batches": warmup,
        "latency_batches": latency,
        "throughput_batches": throughput,
        "window": plan.window,
        **plan.weights_factors,
        "input": "resident",
    }
    if plan.hub:
        factors["hub"] = plan.hub.host
    if role == "end_point":
        factors["role"] = role
    elif role != "split":
        factors.update(role="sentinel", sentinel=role)
    return Run(cuts, workers, repeat, order, warmup, latency, throughput, factors, role)
