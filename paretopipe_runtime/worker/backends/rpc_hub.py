"""The hub: the paper's layout, every tensor through the orchestrator's host.

A process there takes requested batches through the stages, several at once.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch.distributed import rpc

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.worker.backends.backend import (
    Batch,
    Context,
    Ends,
    nothing,
    requests,
    resident_inputs,
)
from paretopipe_runtime.worker.backends.rpc_calls import Call, Inbox, deliver, serve
from paretopipe_runtime.worker.backends.rpc_chain import LastSink
from paretopipe_runtime.worker.backends.rpc_group import Group, explain, name_of
from paretopipe_runtime.worker.devices import memory

MOST_AT_ONCE = 16  # batches on their way; more requests wait


def connect_hub(context: Context) -> Ends:
    """Join as the hub, between the orchestrator and the stages."""
    group = Group(context, on_end=nothing)
    group.join()
    return Ends(RelayedSource(context), LastSink(context, group))


def connect_stage(context: Context) -> Ends:
    """Join as a stage that computes what the hub asks for."""
    inbox = Inbox(context.order.arrives, context.fail)
    group = Group(context, inbox.close)
    serve(inbox)
    answers: dict[int, torch.futures.Future[torch.Tensor | None]] = {}
    inputs, digest = resident_inputs(context) if context.order.stage == 0 else ([], None)
    group.join()
    return Ends(AskedSource(inbox, inputs, answers), AnswerSink(context, group, answers), digest)


class RelayedSource:
    """The hub's source: predictions, in the order of the requests."""

    payload_received = 0

    def __init__(self, context: Context) -> None:
        self._control = context.control
        self._order = context.order
        self._fail = context.fail
        self._relays = ThreadPoolExecutor(MOST_AT_ONCE)

    def __iter__(self) -> Iterator[Batch]:
        coming: queue.SimpleQueue[tuple[int, Future[torch.Tensor]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._read_requests, args=(coming,), daemon=True).start()
        while (request := coming.get()) is not None:
            batch_id, prediction = request
            yield Batch(batch_id, prediction.result(), None, nothing)

    def _read_requests(
        self, coming: queue.SimpleQueue[tuple[int, Future[torch.Tensor]] | None]
    ) -> None:
        try:
            for batch_id in requests(self._control, self._order.idle_timeout_s):
                coming.put((batch_id, self._relays.submit(self._relay, batch_id)))
            coming.put(None)
        except ParetoPipeError as error:
            self._fail(error)

    def _relay(self, batch_id: int) -> torch.Tensor:
        """Take one batch through every stage; RPC waits without the interpreter's lock."""
        tensor: torch.Tensor | None = None
        for stage in range(self._order.stages):
            try:
                tensor = rpc.rpc_sync(name_of(stage), deliver, args=(batch_id, tensor))
            except Exception as error:  # of any kind: it may be another process's
                self._fail(explain(error, f"calling {name_of(stage)}"))
        assert tensor is not None
        return tensor


class AskedSource:
    """A stage's source: the hub's calls, in the order of the batches."""

    def __init__(
        self,
        inbox: Inbox,
        inputs: list[torch.Tensor],
        answers: dict[int, torch.futures.Future[torch.Tensor | None]],
    ) -> None:
        self._inbox = inbox
        self._inputs = inputs
        self._answers = answers

    @property
    def payload_received(self) -> int:
        return self._inbox.payload_received

    def __iter__(self) -> Iterator[Batch]:
        while (call := self._inbox.take()) is not None:
            self._answers[call.batch_id] = call.answer
            batch = Batch(call.batch_id, self._input(call), None, nothing)
            del call  # or its tensor would stay in memory while the next one arrives
            yield batch
            del batch

    def _input(self, call: Call) -> torch.Tensor:
        if call.tensor is not None:
            return call.tensor
        return self._inputs[call.batch_id % len(self._inputs)]


class AnswerSink:
    """A stage's sink: outputs are answers to the hub's calls."""

    def __init__(
        self,
        context: Context,
        group: Group,
        answers: dict[int, torch.futures.Future[torch.Tensor | None]],
    ) -> None:
        self._promised = context.order.leaves
        self._group = group
        self._answers = answers
        self.payload_sent = 0

    def send(self, batch: Batch, output: torch.Tensor) -> None:
        """Answer the hub's call; RPC sends in its own thread."""
        memory.check_form(output, self._promised, batch.batch_id)
        self.payload_sent += output.nbytes
        self._answers.pop(batch.batch_id).set_result(output)

    def finish(self) -> None:
        """End the run: the hub has every answer."""
        self._group.finish()
