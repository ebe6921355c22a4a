"""Everything a stage process needs, imported once before any is forked."""

from __future__ import annotations

from paretopipe_runtime.models import MODEL_NAMES, build_blocks
from paretopipe_runtime.worker import stage as stage  # imported to be inherited


def warm() -> None:
    """Import the stage's code and build each architecture once, on the meta device.

    The builds import torchvision's model files and fill its caches. Meta tensors have no memory
    and start no thread, which a process that forks must not have.
    """
    for name in MODEL_NAMES:
        build_blocks(name, 10, device="meta")
