"""Where a stage computes: on the processor, or on a GPU behind the same interface.

Whatever the device, a stage takes a tensor in host memory and gives one in host memory, for tensors
travel between hosts. What a GPU needs beside that is in `cuda`, which only a stage that was asked
for one imports: the fork server must never touch CUDA, because a process that has cannot fork one
that may. On the processor nothing here costs a batch anything: `from_host` returns the computation
as it is.
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
    """What a stage asks of the device that it computes on."""

    @property
    def name(self) -> str:
        """As the plan calls it: ``cpu``, ``cuda``, ``cuda:1``."""

    @property
    def pinned(self) -> bool:
        """Whether tensors that wait to be computed are to lie in page-locked memory."""

    @property
    def facts(self) -> dict[str, Any]:
        """What it is, JSON-ready: part of what a record says of the host."""

    def place(self, compute: Compute) -> Compute:
        """Return what an engine loaded with its weights on the device."""

    def from_host(self, compute: Compute, gives: Tensor, layout: Layout) -> Compute:
        """Return `compute` as a function from host memory to host memory.

        When it returns, the device has finished and the output's bytes may be sent.
        """

    def synchronize(self) -> None:
        """Wait until the device has done all it was told: to be called before a timer stops."""

    def start(self) -> None:
        """Begin to count what the stage uses of it."""

    def report(self) -> dict[str, Any]:
        """Return what was counted since `start`, JSON-ready: part of the stage's report."""


class Cpu:
    """The processor: tensors are where they should be, and a call returns when it is done."""

    name = "cpu"
    pinned = False

    @property
    def facts(self) -> dict[str, Any]:
        """Nothing that `environment.describe_host` does not say."""
        return {}

    def place(self, compute: Compute) -> Compute:
        """Return what was loaded."""
        return compute

    def from_host(self, compute: Compute, _gives: Tensor, _layout: Layout) -> Compute:
        """Return the computation itself."""
        return compute

    def synchronize(self) -> None:
        """Nothing is under way."""

    def start(self) -> None:
        """`Telemetry` counts."""

    def report(self) -> dict[str, Any]:
        """Return nothing: `Telemetry` has it."""
        return {}


def open_device(name: str) -> Device:
    """Return the device of this name, ready.

    Raises
    ------
    ParetoPipeError
        ``E_DEVICE`` where this host does not have it: what was asked for, why it is not there,
        what to do.
    """
    if name == "cpu":
        return Cpu()
    from paretopipe_runtime.worker.devices import (
        cuda,  # by a stage process alone, never by its parent
    )

    return cuda.open_gpu(name)
