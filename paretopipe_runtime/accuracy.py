"""Top-1 of split networks with a codec at their cuts, on the images that training held out.

Reads data sets as fine-tuning does, so nothing that measures may import this but in a child.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from paretopipe_runtime import codecs
from paretopipe_runtime.contract.accuracy import IMAGES, Accuracy
from paretopipe_runtime.contract.codecs import NONE
from paretopipe_runtime.contract.factors import Layout
from paretopipe_runtime.contract.plan import Workload
from paretopipe_runtime.contract.splits import Cuts, codec_of, stage_ranges
from paretopipe_runtime.contract.weights import Published
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.finetune.datasets import kept, open_dataset
from paretopipe_runtime.finetune.images import Images, prepared
from paretopipe_runtime.weights import check_store, load_stage, set_path

_LAYOUT: Layout = "contiguous"  # the eager engine's


def held_out(weights: Published, image_px: int, state_dir: Path) -> Images:
    """Return the test images of the data set that weights were trained on, `IMAGES` at most.

    Raises
    ------
    ParetoPipeError
        ``E_DATA`` where this host has not that data set, or has another of its name.
    """
    origin = weights.manifest.origin
    assert origin is not None
    trained_on, downloads = "", state_dir / "finetune" / "downloads"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        path = set_path(state_dir / "weights", weights.name, weights.manifest.model)
        trained_on = str(json.loads(path.read_text())["made"]["dataset"])
    place = kept(origin.dataset, trained_on, downloads)
    dataset = open_dataset(place, image_px, downloads) if place else None
    if dataset is None or dataset.sha256 != origin.dataset_sha256:
        seen = "is not there" if dataset is None else "is another one there"
        raise ParetoPipeError(
            "E_DATA",
            f"accuracy is told on the host that measures, and data set {origin.dataset} {seen} — "
            "fine-tune on that host with playbooks/finetune.yml; if the images lie in a home, run "
            f"`paretopipe accuracy {weights.manifest.model}` there first: sweeps use what it keeps",
        )
    total = len(dataset.test)
    count = min(total, IMAGES)
    return dataset.test.some(torch.arange(count) * total // count)


@dataclass(frozen=True)
class Trial:
    """A network and the images that it is tried on, in batches of the plan's size."""

    blocks: nn.Sequential
    images: Images
    image_px: int
    batch: int

    @classmethod
    def of(cls, workload: Workload, state_dir: Path) -> Trial:
        """Load a plan's trained weights and images; raises ``E_WEIGHTS``, ``E_DATA``."""
        weights = workload.weights
        assert weights is not None
        store = state_dir / "weights"
        check_store(weights, store)
        known = weights.manifest
        blocks = load_stage(workload.model, workload.classes, known, store, 0, len(known.blocks))
        images = held_out(weights, workload.image_px, state_dir)
        return cls(blocks, images, workload.image_px, workload.batch_size)

    def right(self, splits: Sequence[Cuts]) -> list[list[bool]]:
        """Tell which images each split has right; all have the same first cut.

        The blocks before it are run once, and a batch's activations are all that is kept.
        """
        found: list[list[bool]] = [[] for _ in splits]
        with torch.inference_mode():
            for places in torch.split(torch.arange(len(self.images)), self.batch):
                pixels = prepared(self.images.load(places), self.image_px)
                labels = self.images.labels[places]
                for own, logits in zip(found, self._logits(pixels, splits), strict=True):
                    sound = logits.isfinite().all(1)
                    own += (sound & (logits.argmax(1) == labels)).tolist()
        return found

    def _logits(self, pixels: torch.Tensor, splits: Sequence[Cuts]) -> Iterator[torch.Tensor]:
        first = splits[0][0] if splits[0] else len(self.blocks)
        shared = self.blocks[:first](pixels)
        for cuts in splits:
            tensor = shared
            for start, end in stage_ranges(cuts, len(self.blocks))[1:]:
                tensor = self.blocks[start:end](through(codec_of(cuts), tensor))
            yield tensor


def through(codec: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return what arrives of a tensor, in memory of its own: blocks overwrite their input."""
    if codec == NONE:
        return tensor.clone()
    payload = codecs.encode(codec, tensor, _LAYOUT)
    return codecs.decode(codec, payload, tuple(tensor.shape), _LAYOUT)


def compare(cuts: Cuts, unsplit: Sequence[bool], split: Sequence[bool]) -> Accuracy:
    """Count what one of two has right and the other has not."""
    pairs = list(zip(unsplit, split, strict=True))
    alone = pairs.count((True, False)), pairs.count((False, True))
    return Accuracy(cuts, len(pairs), sum(unsplit), *alone)
