"""Fold batch normalisations into the convolutions before them; results are equal up to rounding."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold(stage: nn.Module) -> None:
    """Fold in place, also across neighbouring blocks.

    A batch normalisation that comes first in a stage stays: its convolution is on another host.
    """
    for module in stage.modules():
        for before, after in _pairs(module):
            conv, norm = module.get_submodule(before), module.get_submodule(after)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                _fold_into(conv, norm)
                module.set_submodule(after, nn.Identity())


def _pairs(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the names of children that run one right after the other."""
    names = [name for name, _ in module.named_children()]
    if isinstance(module, nn.Sequential):
        yield from itertools.pairwise(names)
        return
    for name in names:  # torchvision's residual and inception modules: bn2 follows conv2
        norm = name.replace("conv", "bn")
        if norm != name and norm in names:
            yield name, norm


def _fold_into(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    conv.weight, conv.bias = weight.requires_grad_(False), bias.requires_grad_(False)
