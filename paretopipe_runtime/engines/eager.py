"""PyTorch as it is: each layer by itself, as the paper runs it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from paretopipe_runtime.engines import StageToLoad
from paretopipe_runtime.weights import load_stage


def load(stage: StageToLoad) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the stage's modules with their weights mapped into memory."""
    return load_stage(
        stage.model, stage.classes, stage.manifest, stage.store, stage.first, stage.end
    )
