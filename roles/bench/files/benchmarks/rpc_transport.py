"""The transport benchmark over PyTorch RPC, by the RPC backend's own classes.

RPC answers a call by itself, so its acknowledgement is that answer: as small as the byte of the
others, and what `torch.distributed.rpc` offers in its place. A call is answered when the receiver
takes the tensor up. What the receiver tells is asked for by a call of its own, after the stream.
"""

from __future__ import annotations

import queue
import socket
from collections.abc import Iterator
from typing import Any

import torch
from torch.distributed import rpc

from benchmarks.form import TIMEOUT_S, Form
from benchmarks.transport import fail
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.worker.backends.backend import Batch, Context
from paretopipe_runtime.worker.backends.rpc_calls import Inbox, serve
from paretopipe_runtime.worker.backends.rpc_chain import CalledSource, CallSink
from paretopipe_runtime.worker.backends.rpc_group import Group
from paretopipe_runtime.worker.devices import memory
from paretopipe_runtime.worker.node import Node
from paretopipe_runtime.worker.order import StageOrder

#: What `told` answers with: what RPC calls has to be found from its module.
_told: queue.SimpleQueue[float] = queue.SimpleQueue()


def told() -> float:
    """Run in the process that is called: return what its end tells."""
    return _told.get(timeout=TIMEOUT_S)


class Caller(CallSink):
    """The chain's sink, which also tells when a call is answered."""

    cipher: str | None = None

    def __init__(self, form: Form, context: Context, group: Group) -> None:
        super().__init__(context, group)
        self._output, _ = memory.empty(form.tensor, "contiguous")
        self._output.uniform_()
        self._answers: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._calls = 0
        self._awaited = 0

    def move(self) -> None:
        """Call with the tensor."""
        batch = Batch(self._calls, torch.empty(0), 0.0, lambda: None)
        self._calls += 1
        self.send(batch, self._output)

    def send_ack(self) -> None:
        """Only the receiving end acknowledges."""
        raise NotImplementedError

    def await_ack(self) -> None:
        """Wait for the answers to all calls so far."""
        while self._awaited < self._calls:
            self._answers.get(timeout=TIMEOUT_S)
            self._awaited += 1

    def tell(self, seconds: float) -> None:
        """Only the receiving end tells."""
        raise NotImplementedError

    def hear(self) -> float:
        """Ask for what the receiving end tells."""
        return float(rpc.rpc_sync(self._next, told))

    def _answered(self, answer: torch.futures.Future[None]) -> None:
        super()._answered(answer)
        self._answers.put(None)


class Called:
    """The chain's source."""

    cipher: str | None = None

    def __init__(self, inbox: Inbox) -> None:
        self._batches: Iterator[Batch] = iter(CalledSource(inbox))

    def move(self) -> None:
        """Take a call up, which answers it."""
        next(self._batches).release()

    def send_ack(self) -> None:
        """The answer was it."""

    def await_ack(self) -> None:
        """Only the sending end waits."""
        raise NotImplementedError

    def tell(self, seconds: float) -> None:
        """Have it ready for whoever asks."""
        _told.put(seconds)

    def hear(self) -> float:
        """Only the sending end is told."""
        raise NotImplementedError


def sending_end(form: Form, node: Node, to: tuple[str, str, int], control: Channel) -> Caller:
    """Meet the peer ``to`` (host, address, port) and return the end that calls."""
    context = _context(form, node, control, None, next_stage=to)
    group = Group(context, lambda: None)
    group.join()
    return Caller(form, context, group)


def receiving_end(form: Form, node: Node, link: socket.socket) -> Called:
    """Join the group of whoever made this link and return the end that is called."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # The stage's connection to the orchestrator: silent, and open as long as this process lives.
    control = Channel(ours, "orchestrator")
    context = _context(form, node, control, theirs, next_stage=None)
    plan = context.order.link_digest(after=False)
    socket.send_fds(ours, [plan.encode()], [link.fileno()])  # as the agent does for a stage
    inbox = Inbox(context.order.takes, context.fail)
    group = Group(context, inbox.close)
    serve(inbox)
    group.join()
    return Called(inbox)


def _context(
    form: Form,
    node: Node,
    control: Channel,
    links: socket.socket | None,
    *,
    next_stage: tuple[str, str, int] | None,
) -> Context:
    order: dict[str, Any] = {
        "run_id": form.name,
        "stage": 0 if next_stage else 1,
        "stages": 2,
        "backend": "rpc",
        "engine": "eager",
        "allocator": form.allocator,
        "model": "",
        "classes": 0,
        "manifest": {},
        "first": 0,
        "end": 0,
        "takes": form.tensor,
        "gives": form.tensor,
        "next_stage": next_stage,
        "input_batches": 0,
        "input_seed": 0,
        "image_px": 0,
        "io_timeout_s": TIMEOUT_S,
        "idle_timeout_s": TIMEOUT_S,
    }
    return Context(node, StageOrder(**order), control, links or socket.socket(), "contiguous", fail)
