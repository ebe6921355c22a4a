"""Operations and tensor sizes of each model's blocks: no PyTorch here.

From a table, for one image of the model's own size and its own number of classes, which a test
compares with the models; of found models from their listings.
"""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from pathlib import Path

from paretopipe_runtime.contract.codecs import CODECS, NONE
from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.plan import Workload
from paretopipe_runtime.contract.splits import Cuts, codec_of

from .listings import FLOAT_NBYTES, Listing, Row, of


@dataclass(frozen=True)
class Blocks:
    """`flops` of each block for a batch; `nbytes` of the tensor at each boundary, the input first.

    `channels` of that tensor, for each of `batch` images.

    Of other image sizes than the model's own both are scaled by its area, without what convolutions
    and pooling round off: at half the size within 10 %, of InceptionV3 a third too many operations.
    """

    flops: tuple[float, ...]
    nbytes: tuple[int, ...]
    channels: tuple[int, ...]
    batch: int

    @property
    def work(self) -> tuple[float, ...]:
        """Each block's share of the operations."""
        total = sum(self.flops)
        return tuple(flops / total for flops in self.flops)

    def hop_bytes(self, cuts: Cuts) -> list[int]:
        """Return the payload bytes of a batch per hop, the last one to the orchestrator."""
        return [*(self._sent(cut, codec_of(cuts)) for cut in cuts), self.nbytes[-1]]

    def _sent(self, cut: int, codec: str) -> int:
        if codec == NONE:
            return self.nbytes[cut]
        channels = self.channels[cut]
        pixels = self.nbytes[cut] // (FLOAT_NBYTES * self.batch * channels)
        return CODECS[codec].nbytes((self.batch, channels, 1, pixels))


def blocks_of(workload: Workload) -> Blocks:
    sizes = (workload.image_px, workload.batch_size, workload.classes)
    return _scaled(workload.model, *sizes, of(workload.model))


@functools.cache
def _scaled(model: str, image_px: int, batch: int, classes: int, listing: Listing | None) -> Blocks:
    info = listing.info if listing else model_info(model)
    rows = listing.rows if listing else _table()[model]
    area = (image_px / info.image_px) ** 2
    flops = [batch * flops * (area if grows else 1) for flops, _, _, grows in rows]
    elements = [number * (area if grows else 1) for _, number, _, grows in rows]
    elements = [3 * image_px**2, *elements[:-1], classes]
    nbytes = tuple(FLOAT_NBYTES * batch * round(number) for number in elements)
    return Blocks(tuple(flops), nbytes, (3, *(channels for _, _, channels, _ in rows)), batch)


@functools.cache
def _table() -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    with Path(__file__).with_name("blocks.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            numbers = (int(row[name]) for name in ("flops", "elements", "channels"))
            found.setdefault(row["model"], []).append(Row(*numbers, row["grows"] == "1"))
    return found
