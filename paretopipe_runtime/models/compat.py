"""Make torchvision importable beside a torch that its compiled extension does not fit.

A CPU torch with a CUDA-built torchvision is common. The import then fails on two missing operators,
which no model here uses.
"""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def allow_missing_extension() -> None:
    """Define torchvision's `nms` and `qnms` if its extension cannot; call before importing it."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return  # importing torchvision raises a better error
    with contextlib.suppress(OSError, StopIteration):
        library = next(Path(spec.origin).parent.glob("_C.*so"))
        torch.ops.load_library(library)  # type: ignore[no-untyped-call] # as torchvision does later
        return
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            torch.library.define(f"torchvision::{operator}", _SCHEMA)
