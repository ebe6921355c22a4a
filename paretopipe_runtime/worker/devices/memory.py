"""Tensors as bytes, without needless copies."""

from __future__ import annotations

import torch

from paretopipe_runtime.contract.factors import Layout
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.frames import Tensor


def empty(form: Tensor, layout: Layout, *, pinned: bool = False) -> tuple[torch.Tensor, memoryview]:
    """Make an uninitialised tensor, and a view of its bytes.

    Pinned memory is page-locked: a GPU copies it without the processor.
    """
    tensor = allocate(form.shape, getattr(torch, form.dtype), layout, pinned=pinned)
    return tensor, as_bytes(tensor, layout)


def allocate(
    shape: tuple[int, ...], dtype: torch.dtype, layout: Layout, *, pinned: bool
) -> torch.Tensor:
    order = format_of(len(shape), layout)
    return torch.empty(shape, dtype=dtype, memory_format=order, pin_memory=pinned)


def format_of(dimensions: int, layout: Layout) -> torch.memory_format:
    """Return PyTorch's name of a layout."""
    if layout == "channels_last" and dimensions == 4:
        return torch.channels_last
    return torch.contiguous_format


def as_bytes(tensor: torch.Tensor, layout: Layout) -> memoryview:
    """Return a tensor's elements in `layout` order, copied only if necessary."""
    if layout == "channels_last" and tensor.dim() == 4:
        tensor = tensor.permute(0, 2, 3, 1)
    if tensor.requires_grad or not tensor.is_cpu:
        tensor = tensor.detach().cpu()
    tensor = tensor.contiguous()
    if tensor.dtype == torch.bfloat16 or not tensor.numel():  # numpy has no bfloat16
        return tensor.view(-1).view(torch.uint8).numpy().data
    return tensor.numpy().data.cast("B")


def check_form(tensor: torch.Tensor, promised: Tensor, batch_id: int) -> None:
    """Raise ``E_SHAPE`` for an output that is not the plan's."""
    if tensor.shape != promised.shape or tensor.dtype is not getattr(torch, promised.dtype):
        dtype = str(tensor.dtype).removeprefix("torch.")
        raise ParetoPipeError(
            "E_SHAPE",
            f"batch {batch_id}: the stage made {dtype}{list(tensor.shape)}, the plan says "
            f"{promised.dtype}{list(promised.shape)}",
        )


def shares_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Tell whether two tensors share storage, as view and base."""
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
