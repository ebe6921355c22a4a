"""PyTorch with each pixel's channels side by side in memory, and batch normalisations folded.

Convolutions read such tensors without reordering them first. Preparation is one pass over the
convolutions' weights, so that nothing is worth keeping on disk.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from paretopipe_runtime.engines import StageToLoad
from paretopipe_runtime.engines.folding import fold
from paretopipe_runtime.weights import load_stage


def load(stage: StageToLoad) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the stage's modules."""
    return load_modules(stage)


def load_modules(stage: StageToLoad) -> nn.Sequential:
    """Return the stage's modules, folded; linear layers' weights stay mapped files."""
    modules = load_stage(
        stage.model, stage.classes, stage.manifest, stage.store, stage.first, stage.end
    )
    fold(modules)
    for layer in modules.modules():
        if isinstance(layer, nn.Conv2d):
            weight = layer.weight.contiguous(memory_format=torch.channels_last)
            layer.weight = nn.Parameter(weight, requires_grad=False)
    return modules
