"""The orders of a chain's stages, and of its hub: one builder for runs, profiles and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from paretopipe_runtime.contract.plan import Plan, Worker
from paretopipe_runtime.contract.splits import Cuts, stage_ranges
from paretopipe_runtime.orchestrator.pipeline import Deadlines
from paretopipe_runtime.orchestrator.prepared import INPUT_BATCHES, INPUT_SEED, Prepared
from paretopipe_runtime.wire.frames import Tensor
from paretopipe_runtime.worker.order import HUB, StageOrder


@dataclass(frozen=True)
class Model:
    """What the stages compute and are fed with; by default nothing, and just numbers."""

    name: str = ""
    classes: int = 0
    engine: str = "eager"
    manifest: dict[str, Any] = field(default_factory=dict)
    image_px: int = 0


@dataclass(frozen=True)
class Part:
    """A stage's share of the model, blocks [first, end), and the tensors at its two ends."""

    first: int
    end: int
    takes: Tensor
    gives: Tensor


def parts_of(prepared: Prepared, cuts: Cuts) -> list[Part]:
    """Return the parts of a model that is cut there."""
    tensors = prepared.boundaries
    ranges = stage_ranges(cuts, len(tensors) - 1)
    return [Part(first, end, tensors[first], tensors[end]) for first, end in ranges]


def orders_of(
    plan: Plan,
    workers: Sequence[Worker],
    parts: Sequence[Part],
    model: Model,
    run_id: str,
    deadlines: Deadlines,
    profile_batches: int = 0,
) -> list[StageOrder]:
    """Return an order for each of the workers, and the last for the plan's hub if it has one."""

    def order(stage: int, worker: Worker, part: Part) -> StageOrder:
        return StageOrder(
            run_id=run_id,
            stage=stage,
            stages=len(parts),
            backend=plan.backend,
            transport=plan.transport,
            engine=model.engine,
            allocator=worker.allocator,
            model=model.name,
            classes=model.classes,
            manifest=model.manifest,
            first=part.first,
            end=part.end,
            takes=part.takes,
            gives=part.gives,
            **plan.onward(tuple(workers), stage),
            input_batches=INPUT_BATCHES,
            input_seed=INPUT_SEED,
            image_px=model.image_px,
            io_timeout_s=deadlines.io_s,
            idle_timeout_s=deadlines.batch_s + 60,
            profile_batches=profile_batches,
            device=worker.device if part.first < part.end else "cpu",
        )

    stages = zip(workers, parts, strict=True)
    orders = [order(stage, worker, part) for stage, (worker, part) in enumerate(stages)]
    if plan.hub:  # it computes no block, and what it sends are the predictions
        end, gives = parts[-1].end, parts[-1].gives
        orders.append(order(HUB, plan.hub, Part(end, end, gives, gives)))
    return orders
