"""What a model's blocks compute and hand on, without running them; needs torch to find out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models import build_blocks

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Boundary:
    """The tensor between block `index` - 1 and block `index`; 0 is the input, n the logits."""

    index: int
    shape: tuple[int, ...]
    dtype: str
    nbytes: int


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


def block_flops(name: str, classes: int, batch: int, image_px: int) -> list[int]:
    """Return each block's floating-point operations for one batch, two a multiply-add.

    Counted by PyTorch's `FlopCounterMode` on meta tensors: convolutions and matrix products only,
    as is usual. A block of activations or pooling has none by this count, and yet takes time.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    flops = []
    tensor = torch.empty(batch, 3, image_px, image_px, device="meta")
    with torch.inference_mode():
        for _, block in build_blocks(name, classes, device="meta"):
            with FlopCounterMode(display=False) as counter:
                tensor = block(tensor)
            flops.append(int(counter.get_total_flops()))
    return flops
