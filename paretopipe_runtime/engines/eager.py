"""Plain PyTorch, layer by layer, as in the paper."""

from __future__ import annotations

from collections.abc import Callable

import torch

from paretopipe_runtime.engines import StageToLoad
from paretopipe_runtime.weights import load_stage


def load(stage: StageToLoad) -> Callable[[torch.Tensor], torch.Tensor]:
    return load_stage(
        stage.model, stage.classes, stage.manifest, stage.store, stage.first, stage.end
    )
