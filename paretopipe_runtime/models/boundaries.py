"""Shapes at block boundaries and operations per block, without running the model."""

from __future__ import annotations

import contextlib
import io
import math
from typing import TYPE_CHECKING

from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models import build_blocks
from paretopipe_runtime.wire.frames import Tensor

if TYPE_CHECKING:
    from torch import nn


def boundary_shapes(name: str, classes: int, batch: int, image_px: int) -> list[Tensor]:
    """Return the tensor at every boundary without computing: 0 is the input, n the logits.

    Raises ``E_IMAGE`` for an image that pooling shrinks to nothing.
    """
    blocks = [module.to("meta") for _, module in build_blocks(name, classes)]
    shapes = _trace(blocks, batch, image_px)
    if shapes is None:
        larger = range(image_px + 1, model_info(name).image_px)
        smallest = next((px for px in larger if _trace(blocks, 1, px)), model_info(name).image_px)
        raise ParetoPipeError(
            "E_IMAGE",
            f"images of {image_px} px do not fit {name}: the smallest that do have {smallest} "
            "— choose a size with -e image=…",
        )
    return [Tensor(shape, "float32", 4 * math.prod(shape)) for shape in shapes]


def _trace(blocks: list[nn.Module], batch: int, image_px: int) -> list[tuple[int, ...]] | None:
    """Return the shape at every boundary, None where a block refuses its input."""
    import torch

    tensor = torch.empty(batch, 3, image_px, image_px, device="meta")
    shapes = [tuple(tensor.shape)]
    try:
        # Where a traced block refuses its input, PyTorch prints its code.
        with torch.inference_mode(), contextlib.redirect_stderr(io.StringIO()):
            for block in blocks:
                tensor = block(tensor)
                shapes.append(tuple(tensor.shape))
    except RuntimeError:
        return None
    return shapes


def block_flops(name: str, classes: int, batch: int, image_px: int) -> list[int]:
    """Return each block's floating-point operations per batch, two per multiply-add.

    By PyTorch's `FlopCounterMode`: convolutions and matrix products only, so that blocks of
    activations or pooling have none.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    flops = []
    tensor = torch.empty(batch, 3, image_px, image_px, device="meta")
    with torch.inference_mode():
        for _, block in build_blocks(name, classes, device="meta"):
            with FlopCounterMode(display=False) as counter:
                tensor = block.to("meta")(tensor)
            flops.append(int(counter.get_total_flops()))
    return flops
