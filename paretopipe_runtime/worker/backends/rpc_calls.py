"""Calls to a stage: tensors in batch order, each with a future answer.

RPC's thread pool runs calls in any order; each is queued without blocking.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import torch
from torch.distributed import rpc

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.frames import Tensor
from paretopipe_runtime.worker.backends.backend import Fail
from paretopipe_runtime.worker.devices import memory


@dataclass(frozen=True, slots=True)
class Call:
    """A batch to compute; `tensor` is None where its input is here."""

    batch_id: int
    tensor: torch.Tensor | None
    answer: torch.futures.Future[torch.Tensor | None]


class Inbox:
    """Queued calls; the caller bounds their number."""

    def __init__(self, expected: Tensor, fail: Fail) -> None:
        self._expected = expected
        self._fail = fail
        self._calls: dict[int, Call] = {}
        self._changed = threading.Condition()
        self._next_id = 0
        self._closed = False
        self.payload_received = 0

    def put(self, call: Call) -> None:
        """Queue a call; a tensor unlike the plan's ends the stage."""
        if call.tensor is not None:
            try:
                memory.check_form(call.tensor, self._expected, call.batch_id)
            except ParetoPipeError as error:
                self._fail(error)
        with self._changed:
            self.payload_received += 0 if call.tensor is None else call.tensor.nbytes
            self._calls[call.batch_id] = call
            self._changed.notify()

    def take(self) -> Call | None:
        """Wait for the next batch's call; None ends the run."""
        with self._changed:
            self._changed.wait_for(lambda: self._next_id in self._calls or self._closed)
            call = self._calls.pop(self._next_id, None)
            self._next_id += 1
            return call

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()


#: The inbox that `deliver` fills. RPC finds what it calls by its name in a module, so the one thing
#: it works on has to be found from there too. A stage process serves one run.
_inbox: list[Inbox] = []


def serve(inbox: Inbox) -> None:
    _inbox[:] = [inbox]


@rpc.functions.async_execution  # type: ignore[untyped-decorator]
def deliver(
    batch_id: int, tensor: torch.Tensor | None
) -> torch.futures.Future[torch.Tensor | None]:
    """Queue a call in the called process, and promise an answer."""
    answer: torch.futures.Future[torch.Tensor | None] = torch.futures.Future()
    _inbox[0].put(Call(batch_id, tensor, answer))
    return answer
