"""PyTorch in the channels_last memory format, with batch normalisations folded."""

from __future__ import annotations

import torch
from torch import nn

from paretopipe_runtime.engines import StageToLoad
from paretopipe_runtime.engines.folding import fold
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
