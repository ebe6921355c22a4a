"""The paper's six models as lists of modules, with block names from `contract.models`.

Importing this package does not import torch; building does.
"""

from __future__ import annotations

from paretopipe_runtime.models.blocks import build_blocks, keep_built, parameter_count

__all__ = [
    "build_blocks",
    "keep_built",
    "parameter_count",
]
