"""The six models of the paper as ordered lists of named blocks.

Importing this package does not import torch: names and counts are free, building is not.
"""

from __future__ import annotations

from paretopipe_runtime.models.blocks import build_blocks, keep_built, parameter_count
from paretopipe_runtime.models.registry import MODEL_NAMES, ModelInfo, model_info

__all__ = [
    "MODEL_NAMES",
    "ModelInfo",
    "build_blocks",
    "keep_built",
    "model_info",
    "parameter_count",
]
