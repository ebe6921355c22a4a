"""As much of torch's interface as a stage process uses, on numpy: for launches of milliseconds.

The worker's own code runs on it unchanged: agent, fork server, stage, backend, frames.
"""

from __future__ import annotations

import contextlib
import sys
import types
from typing import Any

import numpy as np


class Storage:
    """The memory that a tensor lies in."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def data_ptr(self) -> int:
        base = self._array
        while isinstance(base.base, np.ndarray):
            base = base.base
        return int(base.__array_interface__["data"][0])


class Tensor:
    """A contiguous array in host memory."""

    requires_grad = False
    is_cpu = True

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self._array.dtype)

    def dim(self) -> int:
        return self._array.ndim

    def numel(self) -> int:
        return self._array.size

    def contiguous(self) -> Tensor:
        return self

    def numpy(self) -> np.ndarray:
        return self._array

    def untyped_storage(self) -> Storage:
        return Storage(self._array)


def empty(shape: tuple[int, ...], *, dtype: Any, memory_format: Any, pin_memory: bool) -> Tensor:
    assert memory_format == "contiguous"
    assert not pin_memory
    return Tensor(np.empty(shape, dtype))


def install() -> None:
    """Let ``import torch`` find this module's torch in this process."""
    torch: Any = types.ModuleType("torch")
    torch.__version__ = "none"
    torch.Tensor, torch.empty, torch.from_numpy = Tensor, empty, Tensor
    torch.float32, torch.bfloat16 = np.dtype("float32"), object()
    torch.contiguous_format = "contiguous"
    torch.set_num_threads = lambda _count: None
    torch.inference_mode = contextlib.nullcontext
    torch.cuda = types.SimpleNamespace(OutOfMemoryError=type("OutOfMemoryError", (Exception,), {}))
    sys.modules["torch"] = torch
