"""The chain: each stage calls the next with its output.

A call is answered when its tensor is taken. At most `CALLS` are unanswered: backpressure that
bounds memory.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import torch
from torch.distributed import rpc

from paretopipe_runtime.worker.backends.backend import (
    Batch,
    Context,
    Ends,
    PredictionSink,
    ResidentSource,
    Sink,
    nothing,
)
from paretopipe_runtime.worker.backends.rpc_calls import Inbox, deliver, serve
from paretopipe_runtime.worker.backends.rpc_group import Group, explain, name_of
from paretopipe_runtime.worker.devices import memory

CALLS = 2  # one whose tensor travels, one whose tensor waits to be computed


def connect(context: Context) -> Ends:
    """Join the chain, whose last stage answers the orchestrator."""
    order = context.order
    inbox = Inbox(order.arrives, context.fail)
    group = Group(context, inbox.close)
    serve(inbox)
    if order.stages > 1:  # a probe runs a whole model in one stage
        group.join()
    sink: Sink = LastSink(context, group) if not order.onward else CallSink(context, group)
    if order.stage == 0:
        resident = ResidentSource(context)
        return Ends(resident, sink, resident.input_digest)
    return Ends(CalledSource(inbox), sink)


class CalledSource:
    """Tensors of the previous stage; RPC does not report their arrival's beginning."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    @property
    def payload_received(self) -> int:
        return self._inbox.payload_received

    def __iter__(self) -> Iterator[Batch]:
        while (call := self._inbox.take()) is not None:
            call.answer.set_result(None)
            tensor = call.tensor
            assert tensor is not None
            batch = Batch(call.batch_id, tensor, None, nothing)
            del call, tensor  # or they would stay in memory while the next one arrives
            yield batch
            del batch


class CallSink:
    def __init__(self, context: Context, group: Group) -> None:
        self._order = context.order
        self._fail = context.fail
        self._group = group
        self._next = name_of(context.order.stage + 1)
        self._room = threading.Semaphore(CALLS)
        self.payload_sent = 0

    def send(self, batch: Batch, output: torch.Tensor) -> None:
        """Call with one output; block while `CALLS` are unanswered."""
        memory.check_form(output, self._order.leaves, batch.batch_id)
        self._room.acquire()
        try:
            answer = rpc.rpc_async(self._next, deliver, args=(batch.batch_id, output))
        except RuntimeError as error:
            raise explain(error, f"calling {self._next}") from error
        self.payload_sent += output.nbytes
        answer.add_done_callback(self._answered)

    def finish(self) -> None:
        """Wait until all outputs are taken, then end later stages' run."""
        for _ in range(CALLS):
            self._room.acquire()
        self._group.finish()

    def _answered(self, answer: torch.futures.Future[None]) -> None:
        try:
            answer.value()
        except Exception as error:  # of any kind: it may be another process's
            self._fail(explain(error, f"calling {self._next}"))
        self._room.release()


class LastSink(PredictionSink):
    """Ends the group's run after the last prediction."""

    def __init__(self, context: Context, group: Group) -> None:
        super().__init__(context)
        self._group = group

    def finish(self) -> None:
        self._group.finish()
        super().finish()
