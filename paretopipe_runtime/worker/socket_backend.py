"""The socket backend: raw tensor bytes in frames, received while the stage computes.

Each end has its own thread and a bounded queue, so that a transfer overlaps the computation and a
slow stage holds the one before it back. Receive buffers are allocated once and used in turn; a
buffer is free again when the output computed from it has left the host (an output may be a view of
its input, as after a dropout layer).
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import numpy as np
import torch

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import FrameType
from paretopipe_runtime.wire.tensor import Tensor
from paretopipe_runtime.worker.backend import Batch

DEPTH = 2  # batches that wait at either end of a stage
#: Reports the error to the orchestrator and ends the stage process.
Fail = Callable[[ParetoPipeError], NoReturn]


class ResidentSource:
    """Stage 1's source: requests arrive, the input is already here."""

    payload_received = 0

    def __init__(self, control: Channel, inputs: list[torch.Tensor], idle_timeout_s: float) -> None:
        self._control = control
        self._inputs = inputs
        self._idle_timeout_s = idle_timeout_s

    def __iter__(self) -> Iterator[Batch]:
        while True:
            header = self._control.receive_header(self._idle_timeout_s)
            if header.type is FrameType.END:
                return
            if header.type is not FrameType.REQUEST:
                raise ParetoPipeError("E_ORDER", f"{header.type.name} came, expected REQUEST")
            tensor = self._inputs[header.batch_id % len(self._inputs)]
            yield Batch(header.batch_id, tensor, 0.0, lambda: None)


class TensorSource:
    """A later stage's source: tensors of exactly the planned form, from the stage before."""

    def __init__(
        self,
        link: Channel,
        expected: Tensor,
        *,
        io_timeout_s: float,
        idle_timeout_s: float,
        fail: Fail,
    ) -> None:
        self._link = link
        self._expected = expected
        self._io_timeout_s = io_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._fail = fail
        self._arrived: queue.Queue[Batch | None] = queue.Queue(DEPTH)
        self._free: queue.Queue[torch.Tensor] = queue.Queue()
        # One being filled, DEPTH waiting, one in use, and DEPTH + 1 whose outputs are leaving.
        for _ in range(2 * DEPTH + 3):
            self._free.put(torch.empty(expected.shape, dtype=getattr(torch, expected.dtype)))
        threading.Thread(target=self._receive, daemon=True).start()

    @property
    def payload_received(self) -> int:
        """Tensor bytes received so far."""
        return self._link.payload_received

    def __iter__(self) -> Iterator[Batch]:
        while (batch := self._arrived.get()) is not None:
            yield batch

    def _receive(self) -> None:
        try:
            while (batch := self._receive_one()) is not None:
                self._arrived.put(batch)
            self._arrived.put(None)
        except ParetoPipeError as error:
            self._fail(error)

    def _receive_one(self) -> Batch | None:
        tensor = self._free.get()
        header = self._link.receive_header(self._idle_timeout_s)
        if header.type is FrameType.END:
            return None
        self._expected.check(header, self._link.peer)
        start = time.perf_counter()
        buffer = tensor.numpy().data.cast("B")
        self._link.receive_payload(header, buffer, self._io_timeout_s)
        receive_s = time.perf_counter() - start
        self._link.check_digest(header, buffer)
        return Batch(header.batch_id, tensor, receive_s, lambda: self._free.put(tensor))


class TensorSink:
    """Sends outputs on `channel`: to the next stage or, from the last one, to the orchestrator."""

    def __init__(
        self, channel: Channel, promised: Tensor, *, io_timeout_s: float, fail: Fail
    ) -> None:
        self._channel = channel
        self._promised = promised
        self._io_timeout_s = io_timeout_s
        self._fail = fail
        self._leaving: queue.Queue[tuple[Batch, np.ndarray] | None] = queue.Queue(DEPTH)
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    @property
    def payload_sent(self) -> int:
        """Tensor bytes sent so far."""
        return self._channel.payload_sent

    def send(self, batch: Batch, output: torch.Tensor) -> None:
        """Queue one output; blocks while `DEPTH` others still wait."""
        array = output.contiguous().numpy()
        form = (array.shape, str(array.dtype))
        if form != (self._promised.shape, self._promised.dtype):
            raise ParetoPipeError(
                "E_SHAPE",
                f"batch {batch.batch_id}: the stage made {form}, the plan says {self._promised}",
            )
        self._leaving.put((batch, array))

    def finish(self) -> None:
        """Wait until the last output is on its way, then end the stream."""
        self._leaving.put(None)
        self._thread.join()

    def _send(self) -> None:
        try:
            while (item := self._leaving.get()) is not None:
                batch, array = item
                self._channel.send(
                    FrameType.TENSOR,
                    array.data.cast("B"),
                    batch_id=batch.batch_id,
                    dtype=self._promised.dtype,
                    shape=self._promised.shape,
                    timeout=self._io_timeout_s,
                )
                batch.release()
            self._channel.send(FrameType.END, timeout=self._io_timeout_s)
        except ParetoPipeError as error:
            self._fail(error)
