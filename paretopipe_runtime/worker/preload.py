"""Everything a stage process needs, imported once before any is forked."""

from __future__ import annotations

from paretopipe_runtime.contract.models import MODEL_NAMES, model_info
from paretopipe_runtime.models import keep_built
from paretopipe_runtime.worker import stage as stage  # imported to be inherited


def warm() -> None:
    """Import the stage's code and build each architecture once, on the meta device, for a stage.

    The builds import torchvision's model files and fill its caches. Meta tensors have no memory
    and start no thread, which a process that forks must not have.
    """
    for name in MODEL_NAMES:
        for classes in {10, model_info(name).default_classes}:
            keep_built(name, classes)
