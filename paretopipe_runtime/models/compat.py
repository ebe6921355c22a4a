"""Make torchvision importable where its compiled extension does not fit the installed torch.

A CPU torch beside a CUDA-built torchvision is a common pair: some registries give just that. The
extension then cannot be loaded, the operators it would define do not exist, and
``import torchvision`` dies describing two of them. No model here uses either.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def allow_missing_extension() -> None:
    """Define torchvision's `nms` and `qnms` if its extension cannot; call before importing it."""
    if _load_extension():
        return
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            torch.library.define(f"torchvision::{operator}", _SCHEMA)


def _load_extension() -> bool:
    """Load the extension as torchvision itself will again, harmlessly; return whether it loads."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # importing torchvision says better than this could what is wrong
    try:
        for library in Path(spec.origin).parent.glob("_C.*so"):
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
            return True
    except OSError:
        pass
    return False
