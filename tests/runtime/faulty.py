"""A worker with one fault in its data path: the agent's own command, and its fork server's.

The fault is named in the node's state folder, and planted in each stage's own process.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from paretopipe_runtime import cli, engines, weights
from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.worker import agent, forkserver, stage
from paretopipe_runtime.worker.backends import backend
from paretopipe_runtime.worker.backends import socket as socket_backend
from paretopipe_runtime.worker.backends.backend import Batch, nothing
from paretopipe_runtime.worker.node import Node
from paretopipe_runtime.worker.order import StageOrder

REAL = "paretopipe_runtime.worker.forkserver"
FILE = "fault"
SLOW, SLOW_S = "slow in the middle", 0.2
AT = 7  # the batch that is answered twice or never: one of a full window


def released_early(_: Node, __: StageOrder) -> None:
    """Free a buffer on receipt: the next batches arrive in it before it is computed with."""
    real = socket_backend.TensorSource._receive_one

    def receive(source: Any) -> Batch | None:
        batch = real(source)
        if batch is not None:
            batch.release()
            batch = batch._replace(release=nothing)
        return batch

    socket_backend.TensorSource._receive_one = receive  # type: ignore[method-assign]


def _outputs(change: Callable[[list[torch.Tensor], Batch], torch.Tensor]) -> None:
    """Send `change` of this stage's outputs so far, the latest last, and the batch."""
    real = backend.TensorSink.send
    seen: list[torch.Tensor] = []

    def send(sink: Any, batch: Batch, output: torch.Tensor) -> None:
        seen.append(output.clone())
        real(sink, batch, change(seen, batch))

    backend.TensorSink.send = send  # type: ignore[method-assign]


def earlier(by: int) -> Callable[[Node, StageOrder], None]:
    """Answer each batch with the result of the one `by` before."""

    def plant(_: Node, order: StageOrder) -> None:
        if not order.onward:
            _outputs(lambda seen, _: seen[-1 - by] if len(seen) > by else seen[-1])

    return plant


def torn(_: Node, order: StageOrder) -> None:
    """Send the second half of each activation from two batches before."""

    def change(seen: list[torch.Tensor], _: Batch) -> torch.Tensor:
        output = seen[-1].clone()
        if len(seen) > 2:
            half = output.numel() // 2
            output.flatten()[half:] = seen[-3].flatten()[half:]
        return output

    if order.stage == 0:
        _outputs(change)


def skipped(_: Node, order: StageOrder) -> None:
    """Hand on the last stage's input in its output's form."""
    if not order.onward:
        _outputs(lambda _, batch: stage._hand_on(order.gives.shape, batch.tensor.float()))


def zeroed(_: Node, order: StageOrder) -> None:
    """Set one channel of one image's activation to zero, the strongest; of bytes some."""

    def change(seen: list[torch.Tensor], _: Batch) -> torch.Tensor:
        output = seen[-1].clone()
        if output.dim() == 1:
            middle = len(output) // 2
            output[middle : middle + 400] = 0
            return output
        output[0, output[0].abs().amax(dim=(1, 2)).argmax()] = 0
        return output

    if order.stage == 0:
        _outputs(change)


def reseeded(node: Node, order: StageOrder) -> None:
    """Compute the last stage's first block with weights of another seed."""
    real = engines.load

    def load(name: str, asked: engines.StageToLoad) -> Any:
        folder = node.state_dir / "other"
        other = weights.make_seeded_weights(asked.model, asked.classes, 1, folder)
        compute: Any = real(name, asked)
        wrong: Any = real(name, replace(asked, manifest=other, store=folder))
        compute[0] = wrong[0]
        return compute

    if order.end == model_info(order.model).blocks:
        engines.load = load


def swapped(_: Node, __: StageOrder) -> None:
    """Compute with the input of the batch beside the one asked for."""
    real = backend.ResidentSource.__iter__

    def iterate(source: Any) -> Iterator[Batch]:
        inputs = source._inputs
        for batch in real(source):
            yield batch._replace(tensor=inputs[(batch.batch_id ^ 1) % len(inputs)])

    backend.ResidentSource.__iter__ = iterate  # type: ignore[method-assign]


def times(count: int, before_last: int = 0) -> Callable[[Node, StageOrder], None]:
    """Send one batch so often, from the last stage or so many before it."""

    def plant(_: Node, order: StageOrder) -> None:
        real = backend.TensorSink.send

        def send(sink: Any, batch: Batch, output: torch.Tensor) -> None:
            for _ in range(count if batch.batch_id == AT else 1):
                real(sink, batch, output)

        if order.stage == order.stages - 1 - before_last:
            backend.TensorSink.send = send  # type: ignore[method-assign]

    return plant


def slow(_: Node, order: StageOrder) -> None:
    """Let a stage between two others take longer, as on a host with a slower processor."""
    real = engines.load

    def load(name: str, asked: engines.StageToLoad) -> Any:
        computed: Any = real(name, asked)

        def compute(tensor: torch.Tensor) -> torch.Tensor:
            time.sleep(SLOW_S)
            found: torch.Tensor = computed(tensor)
            return found

        return compute

    if 0 < order.stage < order.stages - 1:
        engines.load = load


RELEASED = "buffer released at receipt"
#: What sends other bytes from the first batch on, so that both ends decode different tensors.
CHANGES_BYTES = ("one channel zeroed",)
FAULTS: dict[str, Callable[[Node, StageOrder], None]] = {
    RELEASED: released_early,
    "previous batch's answer": earlier(1),
    "answer of two batches before": earlier(2),
    "answer of four batches before": earlier(4),
    "half an activation of two batches before": torn,
    "stage skipped": skipped,
    "one block's weights of another seed": reseeded,
    "inputs of two batches swapped": swapped,
    "one channel zeroed": zeroed,
    "batch answered twice": times(2),
    "batch never answered": times(0),
    "batch handed on twice": times(2, before_last=1),
    "batch never handed on": times(0, before_last=1),
}


def start(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    assert REAL in command
    return _popen([__spec__.name if word == REAL else word for word in command], **options)


def serve(descriptor: int) -> None:
    real = stage._run

    def run(node: Node, order: StageOrder, *rest: Any) -> None:
        name = (node.state_dir / FILE).read_text()
        if name:
            {**FAULTS, SLOW: slow}[name](node, order)
        real(node, order, *rest)

    stage._run = run
    forkserver.main(descriptor)


if __name__ == "__main__":
    if sys.argv[1].isdigit():
        serve(int(sys.argv[1]))
    else:
        (Path(sys.argv[sys.argv.index("--state-dir") + 1]) / FILE).write_text("")
        _popen = subprocess.Popen
        agent.subprocess.Popen = start  # type: ignore[misc]
        sys.exit(cli.main())
