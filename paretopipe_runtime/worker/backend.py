"""What a stage needs of a communication backend: where its batches come from and where they go.

A backend is one file beside this one. `socket_backend` is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch at a stage: its tensor, how long it took to arrive, and how to free its buffer."""

    batch_id: int
    tensor: torch.Tensor
    receive_s: float
    release: Callable[[], None]


class Source(Protocol):
    """Where a stage's batches come from; iteration ends with the run."""

    def __iter__(self) -> Iterator[Batch]: ...

    @property
    def payload_received(self) -> int:
        """Tensor bytes received so far."""


class Sink(Protocol):
    """Where a stage's outputs go."""

    def send(self, batch: Batch, output: torch.Tensor) -> None:
        """Hand over one output; returns as soon as it is queued, and frees `batch` once sent."""

    def finish(self) -> None:
        """Wait until everything is sent and tell the next stage that the run is over."""

    @property
    def payload_sent(self) -> int:
        """Tensor bytes sent so far."""
