"""How the work of a model is spread over its blocks, without running it."""

from __future__ import annotations

from paretopipe_runtime.models import build_blocks


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
