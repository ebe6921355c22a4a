"""Orders for the stages of a chain and its hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from paretopipe_runtime.contract.chain import INPUT_BATCHES, Chain
from paretopipe_runtime.contract.codecs import NONE
from paretopipe_runtime.contract.plan import Workload
from paretopipe_runtime.contract.splits import Cuts, stage_ranges
from paretopipe_runtime.orchestrator.pipeline import Deadlines
from paretopipe_runtime.orchestrator.prepared import INPUT_SEED, Prepared
from paretopipe_runtime.wire.frames import Tensor
from paretopipe_runtime.worker.order import HUB, StageOrder

NOTHING = Workload(model="", classes=0, image_px=0, batch_size=0, engine="eager")


@dataclass(frozen=True)
class Part:
    """A stage's blocks [first, end), and the tensors it takes and gives."""

    first: int
    end: int
    takes: Tensor
    gives: Tensor


def parts_of(prepared: Prepared, cuts: Cuts) -> list[Part]:
    tensors = prepared.boundaries
    ranges = stage_ranges(cuts, len(tensors) - 1)
    return [Part(first, end, tensors[first], tensors[end]) for first, end in ranges]


def orders_of(
    chain: Chain,
    parts: Sequence[Part],
    run_id: str,
    deadlines: Deadlines,
    workload: Workload = NOTHING,
    manifest: dict[str, Any] | None = None,
    profile_batches: int = 0,
    profile_codecs: tuple[str, ...] = (),
    profile_takes: Sequence[Tensor] = (),
    codec: str = NONE,
    proof_batches: int = 0,
) -> list[StageOrder]:
    """Return an order per part and replica, then the hub's; without blocks, without workload."""

    def order(stage: int, part: Part, replica: int = 0) -> StageOrder:
        worker = chain.at(stage, replica)
        return StageOrder(
            run_id=run_id,
            stage=stage,
            stages=len(parts),
            backend=chain.backend,
            transport=chain.transport,
            engine=workload.engine,
            allocator=worker.allocator,
            model=workload.model,
            classes=workload.classes,
            manifest=manifest or {},
            first=part.first,
            end=part.end,
            takes=part.takes,
            gives=part.gives,
            onward=chain.onward(stage, len(parts)),
            input_batches=INPUT_BATCHES,
            input_seed=INPUT_SEED,
            image_px=workload.image_px,
            io_timeout_s=deadlines.io_s,
            idle_timeout_s=deadlines.batch_s + 60,
            profile_batches=profile_batches,
            profile_codecs=profile_codecs,
            profile_takes=tuple(profile_takes),
            codec=codec,
            proof_batches=proof_batches,
            device=worker.device if part.first < part.end else "cpu",
            replica=replica,
            replicas=len(chain.workers[stage].each) if stage >= 0 else 1,
            previous=chain.previous(stage),
        )

    orders = [
        order(stage, part, replica)
        for stage, part in enumerate(parts)
        for replica in range(len(chain.workers[stage].each))
    ]
    if chain.hub:  # computes no block, passes the predictions on
        end, gives = parts[-1].end, parts[-1].gives
        orders.append(order(HUB, Part(end, end, gives, gives)))
    return orders
