"""Where a model can be cut, and what crosses each cut. torch is imported only to find shapes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models import build_blocks, model_info

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Boundary:
    """The tensor between block `index` - 1 and block `index`; 0 is the input, n the logits."""

    index: int
    shape: tuple[int, ...]
    dtype: str
    nbytes: int


def all_splits(name: str) -> list[tuple[int, ...]]:
    """Return every way to cut a model into two stages: ``[(1,), …, (n-1,)]``."""
    return [(cut,) for cut in range(1, model_info(name).blocks)]


def stage_ranges(cuts: Sequence[int], blocks: int) -> list[tuple[int, int]]:
    """Return each stage's blocks as [first, end).

    >>> stage_ranges((3, 9), 21)
    [(0, 3), (3, 9), (9, 21)]
    """
    edges = [0, *cuts, blocks]
    return list(itertools.pairwise(edges))


def validate_cuts(name: str, cuts: Sequence[int]) -> tuple[int, ...]:
    """Return the cut points as a tuple; none at all means a model that is not cut.

    Raises
    ------
    ParetoPipeError
        ``E_SPLIT`` unless they are within 1 … blocks-1 and strictly increasing.
    """
    blocks = model_info(name).blocks
    for cut in cuts:
        if isinstance(cut, bool) or not isinstance(cut, int) or not 1 <= cut < blocks:
            raise ParetoPipeError(
                "E_SPLIT",
                f"split {cut!r} of {name} is out of range: valid cut points are 1…{blocks - 1} "
                "— choose among them with -e splits=…, or all of them with -e splits=all",
            )
    if any(here >= after for here, after in itertools.pairwise(cuts)):
        raise ParetoPipeError(
            "E_SPLIT",
            f"cut points {list(cuts)} of {name} do not increase: every stage needs a block of its "
            "own — list each cut point once, the smallest first",
        )
    return tuple(cuts)


def boundary_shapes(name: str, classes: int, batch: int, image_px: int) -> list[Boundary]:
    """Return the tensor at every boundary 0 … n, without computing anything.

    Parameters
    ----------
    name, classes
        The model.
    batch : int
        Images a batch.
    image_px : int
        Height and width of the square input.

    Raises
    ------
    ParetoPipeError
        ``E_IMAGE`` for an image that the model's pooling shrinks to nothing.
    """
    blocks = [module for _, module in build_blocks(name, classes)]
    shapes = _trace(blocks, batch, image_px)
    if shapes is None:
        larger = range(image_px + 1, model_info(name).image_px)
        smallest = next((px for px in larger if _trace(blocks, 1, px)), model_info(name).image_px)
        raise ParetoPipeError(
            "E_IMAGE",
            f"images of {image_px} px do not fit {name}: the smallest that do have {smallest} "
            "— choose a size with -e image=…",
        )
    return [
        Boundary(index, shape, "float32", 4 * math.prod(shape))
        for index, shape in enumerate(shapes)
    ]


def _trace(blocks: list[nn.Module], batch: int, image_px: int) -> list[tuple[int, ...]] | None:
    """The shape at every boundary; None where a block refuses its input."""
    import torch

    tensor = torch.empty(batch, 3, image_px, image_px, device="meta")
    shapes = [tuple(tensor.shape)]
    try:
        with torch.inference_mode():
            for block in blocks:
                tensor = block(tensor)
                shapes.append(tuple(tensor.shape))
    except RuntimeError:
        return None
    return shapes
