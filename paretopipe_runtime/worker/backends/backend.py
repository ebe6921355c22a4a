"""What a stage needs of a communication backend: where its batches come from and where they go.

A backend is one file beside this one with a function ``connect(context: Context) -> Ends``.
`socket` is ours.
"""

from __future__ import annotations

import importlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol

from paretopipe_runtime.contract.factors import Layout
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.worker.node import Node
from paretopipe_runtime.worker.order import StageOrder

if TYPE_CHECKING:
    import torch

#: Reports the error to the orchestrator and ends the stage process.
Fail = Callable[[ParetoPipeError], NoReturn]


class Batch(NamedTuple):
    """One batch at a stage: its tensor, how long it took to arrive, and how to free its buffer.

    `receive_s` is None where the backend cannot tell when a tensor began to arrive.
    """

    batch_id: int
    tensor: torch.Tensor
    receive_s: float | None
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
        """Hand over one output and see that `batch` is released once nothing needs its buffer."""

    def finish(self) -> None:
        """Wait until everything is sent and tell the next stage that the run is over."""

    @property
    def payload_sent(self) -> int:
        """Tensor bytes sent so far."""


@dataclass(frozen=True)
class Ends:
    """A stage's two ends.

    `input_digest` proves the first stage's resident input, else None; `cipher` is what a later
    stage's batches come encrypted with, None for nothing.
    """

    source: Source
    sink: Sink
    input_digest: str | None = None
    cipher: str | None = None


@dataclass(frozen=True)
class Context:
    """What a backend connects a stage with.

    `control` is the orchestrator's connection; over the Unix socket `links` the agent passes the
    previous stage's data connection. `layout` is how the engine takes and gives tensors; `pinned`
    whether they are to wait for it in page-locked memory.
    """

    node: Node
    order: StageOrder
    control: Channel
    links: socket.socket
    layout: Layout
    fail: Fail
    pinned: bool = False


def connect(context: Context) -> Ends:
    """Connect a stage with the backend that its order names.

    Raises
    ------
    ParetoPipeError
        ``E_BACKEND`` for one that this host does not have, and what the backend has to say.
    """
    name, known = context.order.backend, context.node.backends
    if name not in known:
        raise ParetoPipeError(
            "E_BACKEND", f"no backend {name[:40]!r} on this host: known are {', '.join(known)}"
        )
    module = importlib.import_module(known[name])
    ends: Ends = module.connect(context)
    return ends
