"""A data set: labelled images in three parts, and batches of them as a network takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from paretopipe_runtime import golden
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models.initial import uniform

TEST_SHARE = 0.2  # of all images, where a data set has no test part
VALIDATION_SHARE = 0.1  # of the rest
MEAN, STD = torch.from_numpy(golden.MEAN), torch.from_numpy(golden.STD)
_SHIFT = 8  # an image moves by up to 1/8 of its side


@dataclass(frozen=True)
class Images:
    """Labelled images; `load` maps indices (n,) to pixels, uint8 (n, 3, h, w)."""

    labels: torch.Tensor  # int64 (n,)
    load: Callable[[torch.Tensor], torch.Tensor]

    def __len__(self) -> int:
        return len(self.labels)

    def some(self, places: torch.Tensor) -> Images:
        """Select images by index."""
        return Images(self.labels[places], lambda chosen: self.load(places[chosen]))


@dataclass(frozen=True)
class Dataset:
    """Training, validation and test images; `flip` allows mirroring."""

    name: str
    sha256: str
    classes: int
    flip: bool
    train: Images
    validation: Images
    test: Images


def in_memory(pixels: NDArray[np.uint8], labels: NDArray[Any]) -> Images:
    """Wrap pixels (n, h, w) or (n, 1 or 3, h, w), or raise ValueError."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or 0 in pixels.shape:
        raise ValueError(f"images are {pixels.dtype}{list(pixels.shape)}, expected uint8 [n, …]")
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels
    if pixels.shape[1] not in (1, 3):
        raise ValueError(f"images have {pixels.shape[1]} channels, expected 1 or 3")
    if labels.dtype.kind not in "iu" or labels.shape != pixels.shape[:1]:
        raise ValueError(
            f"labels are {labels.dtype}{list(labels.shape)}, expected one whole number for each of "
            f"{len(pixels)} images"
        )
    if labels.min() < 0:
        raise ValueError(f"a label is {labels.min()}, expected 0 or more")
    whole = torch.from_numpy(np.ascontiguousarray(pixels))
    return Images(
        torch.from_numpy(labels.astype(np.int64)),
        lambda places: whole[places].expand(-1, 3, -1, -1),
    )


def parted(
    name: str,
    sha256: str,
    classes: int,
    *,
    flip: bool,
    known: Images,
    test: Images | None = None,
    validation: Images | None = None,
) -> Dataset:
    """Hold out the parts that are not given, stratified and repeatable.

    Raises ``E_DATA`` for a label out of range or an empty part.
    """
    if test is None:
        rest, held = _hold_out("test", known.labels, TEST_SHARE)
        known, test = known.some(rest), known.some(held)
    if validation is None:
        rest, held = _hold_out("validation", known.labels, VALIDATION_SHARE)
        known, validation = known.some(rest), known.some(held)
    dataset = Dataset(name, sha256, classes, flip, known, validation, test)
    total = len(dataset.train) + len(dataset.validation) + len(dataset.test)
    for part, images in (
        ("train on", dataset.train),
        ("choose an epoch by", dataset.validation),
        ("test", dataset.test),
    ):
        if not len(images) or classes < 2:
            raise ParetoPipeError(
                "E_DATA",
                f"data set {name} has {total} images of {classes} classes, which leaves "
                f"{len(images)} to {part} — it takes two classes and ten images of each",
            )
        if int(images.labels.max()) >= classes:
            raise ParetoPipeError(
                "E_DATA",
                f"data set {name} has a label {int(images.labels.max())}, its {classes} classes "
                "are numbered from 0",
            )
    return dataset


def prepared(pixels: torch.Tensor, image_px: int) -> torch.Tensor:
    """Resize and normalise uint8 (n, 3, h, w) to float32 (n, 3, px, px) on the same device."""
    images = pixels.float() / 255
    if images.shape[-2:] != (image_px, image_px):
        images = functional.interpolate(
            images, size=(image_px, image_px), mode="bilinear", align_corners=False
        )
    return (images - MEAN.to(images.device)) / STD.to(images.device)


def augmented(pixels: torch.Tensor, seed: int, *, flip: bool) -> torch.Tensor:
    """Shift and, with `flip`, mirror images (n, 3, h, w) at random."""
    source = torch.Generator().manual_seed(seed)
    high, wide = pixels.shape[-2:]
    most = max(1, min(high, wide) // _SHIFT)
    padded = functional.pad(pixels, (most, most, most, most))
    moves = torch.randint(2 * most + 1, (len(pixels), 2), generator=source)
    shifted = torch.stack(
        [
            image[:, down : down + high, across : across + wide]
            for image, (down, across) in zip(padded, moves.tolist(), strict=True)
        ]
    )
    if flip:
        mirrored = torch.rand(len(pixels), generator=source) < 0.5
        shifted[mirrored] = shifted[mirrored].flip(-1)
    return shifted


def _hold_out(part: str, labels: torch.Tensor, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Split indices, stratified by label, into (kept, held out)."""
    lots = torch.from_numpy(uniform(f"held out/{part}", (len(labels),), 0, 1))
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label in set(labels.tolist()):
        own = (labels == label).nonzero()[:, 0]
        held[own[lots[own].argsort(stable=True)][: round(share * len(own))]] = True
    return (~held).nonzero()[:, 0], held.nonzero()[:, 0]
