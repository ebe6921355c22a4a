"""Write tensors by a codec, and read them back.

A payload is ranges, if the codec has any, then elements in the order of the layout, two of four
bits in a byte, the first in its lower half. Multiplication and addition are apart, so that every
machine decodes to the same bits.
"""

from __future__ import annotations

import math
import sys

import torch

from paretopipe_runtime.contract.codecs import (
    CODECS,
    RANGE_NBYTES,
    count_ranges,
)
from paretopipe_runtime.contract.factors import Layout
from paretopipe_runtime.errors import ParetoPipeError

if sys.byteorder != "little":  # as payloads are
    raise ImportError("codecs need a little-endian machine")


def encode(name: str, tensor: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Write a float32 tensor (batch first) as uint8 of ``CODECS[name].nbytes(tensor.shape)``.

    Values round to the nearest level between the least and the greatest of their range, halves to
    even. A range with a value that is not finite makes a payload that `decode` refuses.
    """
    codec = CODECS[name]
    if not codec.ranges:
        flat = _in_order(tensor, layout).flatten()
        return flat.to(torch.float16).view(torch.uint8)
    groups = _grouped(tensor, layout)
    least, greatest = _extremes(groups)
    step = (greatest - least).div_(codec.levels)
    step = torch.where(step > 0, step, torch.ones_like(step))
    levels = (groups - least).div_(step).round_().clamp_(0, codec.levels).to(torch.uint8).flatten()
    payload = torch.empty(codec.nbytes(tensor.shape), dtype=torch.uint8)
    ranges, elements = _parts(payload, tensor.shape)
    torch.cat((least.flatten(), step.flatten()), out=ranges)
    if codec.bits == 4:
        elements[: len(levels) // 2] = levels[1::2] << 4
        elements[len(levels) // 2 :] = 0  # of an odd number the last has a byte of its own
        elements |= levels[::2]
    else:
        elements.copy_(levels)
    return payload


def decode(
    name: str, payload: torch.Tensor, shape: tuple[int, ...], layout: Layout
) -> torch.Tensor:
    """Read a payload (uint8, one dimension) back as float32 of a shape (batch first).

    Raises
    ------
    ParetoPipeError
        ``E_CODEC`` for ranges that are not finite, ``E_SIZE`` for a payload of another size, before
        anything is allocated.
    """
    codec = CODECS[name]
    if payload.numel() != codec.nbytes(shape):
        raise ParetoPipeError(
            "E_SIZE",
            f"{payload.numel()} B of {name}, expected {codec.nbytes(shape)} B for {list(shape)} — "
            "the nodes disagree; run playbooks/provision.yml",
        )
    if not codec.ranges:
        return _from_order(payload.view(torch.float16).to(torch.float32), shape, layout)
    ranges, elements = _parts(payload, shape)
    least, step = ranges.view(2, -1)
    if not (torch.isfinite(least + step * codec.levels).all() and bool((step > 0).all())):
        raise ParetoPipeError(
            "E_CODEC",
            f"a payload of {name} has a range that is not finite, as of an activation with "
            "infinite values — measure with -e codec=none whether the model makes them",
        )
    if codec.bits == 4:
        levels = torch.empty(2 * len(elements), dtype=torch.float32)
        levels[::2] = elements & 15
        levels[1::2] = elements >> 4
        levels = levels[: math.prod(shape)]
    else:
        levels = elements.to(torch.float32)
    first, rest = _axes(shape, layout)
    groups = levels.view(first, -1, rest)
    of_group = (first, 1, rest)
    groups.mul_(step.view(of_group)).add_(least.view(of_group))
    return _from_order(levels, shape, layout)


def _extremes(groups: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the least and the greatest value of each range.

    In two passes seven to ten times as fast as by `aminmax` (an x86 core, torch 2.13), but not
    where ranges lie side by side and fill no vector register.
    """
    beside = groups.shape[2]
    if beside == 1 or beside % 16 == 0:
        return groups.amin(dim=1, keepdim=True), groups.amax(dim=1, keepdim=True)
    return groups.aminmax(dim=1, keepdim=True)


def _parts(payload: torch.Tensor, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a payload's ranges, all least values before all steps, and its elements."""
    until = RANGE_NBYTES * count_ranges(shape)
    return payload[:until].view(torch.float32), payload[until:]


def _axes(shape: tuple[int, ...], layout: Layout) -> tuple[int, int]:
    """Return the sizes of the axes before and after that of a range's elements."""
    ranges, batch = count_ranges(shape), shape[0]
    if ranges == batch:
        return batch, 1
    within = len(shape) == 3 or layout == "channels_last"
    return (batch, ranges // batch) if within else (ranges, 1)


def _grouped(tensor: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Return a tensor in the layout's order, its second of three axes that of a range."""
    first, rest = _axes(tuple(tensor.shape), layout)
    return _in_order(tensor, layout).reshape(first, -1, rest)


def _in_order(tensor: torch.Tensor, layout: Layout) -> torch.Tensor:
    if layout == "channels_last" and tensor.dim() == 4:
        tensor = tensor.permute(0, 2, 3, 1)
    return tensor.contiguous()


def _from_order(flat: torch.Tensor, shape: tuple[int, ...], layout: Layout) -> torch.Tensor:
    if layout == "channels_last" and len(shape) == 4:
        batch, channels, height, width = shape
        return flat.view(batch, height, width, channels).permute(0, 3, 1, 2)
    return flat.view(shape)
