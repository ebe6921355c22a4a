"""How the work of a model is spread over its blocks, without running it."""

from __future__ import annotations

from paretopipe_runtime.models import build_blocks


def block_work(name: str, classes: int, batch: int, image_px: int) -> list[float]:
    """Return each block's share of the model's floating-point operations; the shares add up to 1.

    Counted by PyTorch's `FlopCounterMode` on meta tensors: convolutions and matrix products only.
    Good enough to foresee how long a sweep takes; never part of a result.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    work = []
    tensor = torch.empty(batch, 3, image_px, image_px, device="meta")
    with torch.inference_mode():
        for _, block in build_blocks(name, classes, device="meta"):
            with FlopCounterMode(display=False) as counter:
                tensor = block(tensor)
            work.append(float(counter.get_total_flops()))
    total = sum(work)
    return [share / total for share in work]
