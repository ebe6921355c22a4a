"""Golden batches, the unsplit model's reference logits, and their comparison with others."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.weights import WeightsManifest
from paretopipe_runtime.models.initial import uniform
from paretopipe_runtime.weights import load_stage

#: Largest relative error of equal float32 logits from one engine.
TOLERANCE = 1e-5
_CIFAR_PX = 32
#: What `agreement` returns.
AGREEMENT = ("agreement", "repeat_rel_err", "nearest", "own_distance")
#: ImageNet's, per colour channel.
MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)


@dataclass(frozen=True)
class Proof:
    """Distance of logits from the reference; infinite for another shape or non-finite values.

    `argmax_equal` if every image keeps its class.
    """

    max_rel_err: float
    argmax_equal: bool
    finite: bool


def input_batches(batch: int, image_px: int, count: int, seed: int) -> list[NDArray[np.float32]]:
    """Return `count` float32 arrays (batch, 3, px, px), bit-identical on every machine.

    Synthetic stand-ins for resized CIFAR-10 images: 32 x 32 noise over random colour blotches,
    which make whole images differ, enlarged bilinearly and normalised as ImageNet. Batch i does
    not depend on `count`.
    """
    return [_batch(f"images/{seed}/{index}", batch, image_px) for index in range(count)]


def random_batches(shape: tuple[int, ...], count: int, seed: int) -> list[NDArray[np.float32]]:
    """Return `count` float32 arrays in [0, 1), bit-identical on every machine."""
    return [uniform(f"numbers/{seed}/{index}", shape, 0, 1) for index in range(count)]


def input_digest(arrays: Sequence[NDArray[Any]]) -> str:
    """Return the sha256 over shapes, types and values."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def reference_logits(
    name: str,
    classes: int,
    manifest: WeightsManifest,
    store: Path,
    batches: Sequence[NDArray[np.float32]],
) -> NDArray[np.float32]:
    """Return the unsplit model's logits (batches, batch, classes)."""
    import torch

    model = load_stage(name, classes, manifest, store, 0, model_info(name).blocks)
    with torch.inference_mode():
        return np.stack([model(torch.from_numpy(array)).numpy() for array in batches])


def compare(
    logits: NDArray[np.float32], reference: NDArray[np.float32], tolerance: float = TOLERANCE
) -> Proof:
    """Compare logits (…, batch, classes) with the unsplit model's.

    A batch's error is max|logits - reference| / max|reference|. It is relative to the largest
    logit because float32 sums are accurate to a few parts in 10^7 of their largest terms: relative
    to a logit near zero it would be noise.

    Parameters
    ----------
    tolerance : float
        Classes whose reference logits differ by less, on the same scale, count as equal.
    """
    if logits.shape != reference.shape or logits.size == 0:
        return Proof(math.inf, argmax_equal=False, finite=bool(np.isfinite(logits).all()))
    finite = bool(np.isfinite(logits).all() and np.isfinite(reference).all())
    if not finite:
        return Proof(math.inf, argmax_equal=False, finite=False)
    ours = logits.reshape(-1, *logits.shape[-2:]).astype(np.float64)
    theirs = reference.reshape(ours.shape).astype(np.float64)
    scale = np.abs(theirs).max(axis=(1, 2))
    scale[scale == 0] = 1.0
    errors = np.abs(ours - theirs).max(axis=(1, 2)) / scale
    chosen = np.take_along_axis(theirs, ours.argmax(axis=2)[..., None], axis=2)[..., 0]
    lost = (theirs.max(axis=2) - chosen) / scale[:, None]
    return Proof(float(errors.max()), argmax_equal=bool((lost <= tolerance).all()), finite=True)


def agreement(
    logits: Sequence[NDArray[np.float32]], references: Sequence[NDArray[np.float32]]
) -> dict[str, Any]:
    """Compare predictions (batch, classes) of inputs in turn, when tensors went encoded.

    Returns
    -------
    dict
        ``agreement``: share of images with the class of the unsplit model. ``repeat_rel_err``:
        largest error against the first prediction of the same input. ``nearest``: whether every
        prediction is nearer to its own input's reference than to another's. ``own_distance``: that
        to the own references, all added up, as a share of the mean to the others. An answer to
        another input makes it larger than 1, however coarse the codec.
    """
    count = len(references)
    repeats = [compare(seen, logits[at % count]).max_rel_err for at, seen in enumerate(logits)]
    alike = [seen.argmax(1) == references[at % count].argmax(1) for at, seen in enumerate(logits)]
    apart = [[float(np.abs(seen - other).sum()) for other in references] for seen in logits]
    own = sum(row[at % count] for at, row in enumerate(apart))
    others = (sum(map(sum, apart)) - own) / max(count - 1, 1)
    return {
        "agreement": float(np.mean(alike)),
        "repeat_rel_err": max(repeats),
        "nearest": all(row[at % count] == min(row) for at, row in enumerate(apart)),
        "own_distance": own / others if others else 0.0,
    }


def _batch(key: str, batch: int, image_px: int) -> NDArray[np.float32]:
    pixels = _resize(uniform(f"{key}/blotches", (batch, 3, 4, 4), 0, 1), _CIFAR_PX)
    pixels += uniform(f"{key}/pixels", pixels.shape, -0.2, 0.2)
    np.clip(pixels, 0, 1, out=pixels)
    return (_resize(pixels, image_px) - MEAN) / STD


def _resize(images: NDArray[np.float32], px: int) -> NDArray[np.float32]:
    """Resize bilinearly with aligned pixel centres, one axis after the other."""
    size = images.shape[-1]
    position = ((np.arange(px) + 0.5) * (size / px) - 0.5).clip(0, size - 1)
    low = position.astype(np.intp)
    high = np.minimum(low + 1, size - 1)
    share = (position - low).astype(np.float32)
    for axis, weight in ((2, share[:, None]), (3, share)):
        near, far = images.take(low, axis), images.take(high, axis)
        images = near + (far - near) * weight
    return images
