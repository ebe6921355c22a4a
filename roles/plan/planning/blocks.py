"""Operations and tensor sizes of each model's blocks, from a table: no PyTorch here.

blocks.csv is for one image of the model's own size and its own number of classes; `grows` marks
what grows with the image. A test compares it with the models.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.plan import Workload

FLOAT_NBYTES = 4


@dataclass(frozen=True)
class Blocks:
    """`flops` of each block for a batch; `nbytes` of the tensor at each boundary, the input first.

    Of other image sizes than the model's own both are scaled by its area, without what convolutions
    and pooling round off: at half the size within 10 %, of InceptionV3 a third too many operations.
    """

    flops: tuple[float, ...]
    nbytes: tuple[int, ...]

    @property
    def work(self) -> tuple[float, ...]:
        """Each block's share of the operations."""
        total = sum(self.flops)
        return tuple(flops / total for flops in self.flops)

    def hop_bytes(self, cuts: Sequence[int]) -> list[int]:
        """Return the payload bytes of a batch per hop, the last one to the orchestrator."""
        return [self.nbytes[cut] for cut in (*cuts, len(self.nbytes) - 1)]


def blocks_of(workload: Workload) -> Blocks:
    return _scaled(workload.model, workload.image_px, workload.batch_size, workload.classes)


@functools.cache
def _scaled(model: str, image_px: int, batch: int, classes: int) -> Blocks:
    info, rows = model_info(model), _table()[model]
    area = (image_px / info.image_px) ** 2
    flops = [batch * flops * (area if grows else 1) for flops, _, grows in rows]
    elements = [number * (area if grows else 1) for _, number, grows in rows]
    elements = [3 * image_px**2, *elements[:-1], classes]
    return Blocks(tuple(flops), tuple(FLOAT_NBYTES * batch * round(number) for number in elements))


@functools.cache
def _table() -> dict[str, list[tuple[int, int, bool]]]:
    found: dict[str, list[tuple[int, int, bool]]] = {}
    with Path(__file__).with_name("blocks.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            numbers = int(row["flops"]), int(row["elements"]), row["grows"] == "1"
            found.setdefault(row["model"], []).append(numbers)
    return found
