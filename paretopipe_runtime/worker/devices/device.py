"""A stage's device: processor or GPU.

Tensors enter and leave in host memory, for they travel between hosts. Only stages on a GPU import
`cuda`: a process that has used CUDA cannot fork one that may. On the processor `from_host` returns
the computation itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from paretopipe_runtime.contract.factors import Layout
from paretopipe_runtime.wire.frames import Tensor

if TYPE_CHECKING:
    import torch

    Compute = Callable[[torch.Tensor], torch.Tensor]


class Device(Protocol):
    @property
    def name(self) -> str:
        """As in the plan: ``cpu``, ``cuda``, ``cuda:1``."""

    @property
    def pinned(self) -> bool:
        """Page-locked memory for waiting tensors."""

    @property
    def facts(self) -> dict[str, Any]:
        """Its part of a record's host, JSON-ready."""

    def place(self, compute: Compute) -> Compute:
        """Move what an engine loaded, weights and all, to the device."""

    def from_host(self, compute: Compute, gives: Tensor, layout: Layout) -> Compute:
        """Make a function from host memory to host memory.

        On its return the device has finished, and the output may be sent.
        """

    def synchronize(self) -> None:
        """Wait until the device is idle, before stopping a timer."""

    def start(self) -> None:
        """Begin to count."""

    def report(self) -> dict[str, Any]:
        """Return what was counted since `start`: part of the stage's report."""


class Cpu:
    """The processor: nothing to move or to wait for, and `Telemetry` counts."""

    name = "cpu"
    pinned = False

    @property
    def facts(self) -> dict[str, Any]:
        return {}

    def place(self, compute: Compute) -> Compute:
        return compute

    def from_host(self, compute: Compute, _gives: Tensor, _layout: Layout) -> Compute:
        return compute

    def synchronize(self) -> None: ...

    def start(self) -> None: ...

    def report(self) -> dict[str, Any]:
        return {}


def open_device(name: str) -> Device:
    """Return the device of this name, ready, or raise ``E_DEVICE``."""
    if name == "cpu":
        return Cpu()
    from paretopipe_runtime.worker.devices import (
        cuda,  # by a stage process alone, never by its parent
    )

    return cuda.open_gpu(name)
