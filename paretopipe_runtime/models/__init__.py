"""The six models of the paper as ordered lists of modules; their blocks' names are the contract's.

Importing this package does not import torch: building does.
"""

from __future__ import annotations

from paretopipe_runtime.models.blocks import build_blocks, keep_built, parameter_count

__all__ = [
    "build_blocks",
    "keep_built",
    "parameter_count",
]
