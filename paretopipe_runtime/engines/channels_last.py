"""PyTorch in the channels_last memory format, with batch normalisations folded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from paretopipe_runtime.engines import StageToLoad
from paretopipe_runtime.weights import load_stage


def load(stage: StageToLoad) -> nn.Sequential:
    """Return the folded modules; linear layers' weights stay memory-mapped."""
    modules = load_stage(
        stage.model, stage.classes, stage.manifest, stage.store, stage.first, stage.end
    )
    fold(modules)
    for layer in modules.modules():
        if isinstance(layer, nn.Conv2d):
            weight = layer.weight.contiguous(memory_format=torch.channels_last)
            layer.weight = nn.Parameter(weight, requires_grad=False)
    return modules


def fold(stage: nn.Module) -> None:
    """Fold batch normalisations into the convolutions before them, also across blocks, in place.

    Results are equal up to rounding. A batch normalisation that comes first in a stage stays: its
    convolution is on another host.
    """
    for module in stage.modules():
        for before, after in _pairs(module):
            conv, norm = module.get_submodule(before), module.get_submodule(after)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module.set_submodule(before, fuse_conv_bn_eval(conv, norm))
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
