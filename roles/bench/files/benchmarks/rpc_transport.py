"""Transport benchmark over PyTorch RPC, with the RPC backend's own classes.

An RPC's answer serves as its acknowledgement; the receiver answers when it takes the tensor up.
"""

from __future__ import annotations

import queue
import socket

import torch
from torch.distributed import rpc

from benchmarks.node import TIMEOUT_S, Form
from benchmarks.transport import fail, filled
from paretopipe_runtime.contract.chain import Chain, Worker
from paretopipe_runtime.contract.factors import Variant
from paretopipe_runtime.orchestrator.orders import Part, orders_of
from paretopipe_runtime.orchestrator.pipeline import Deadlines
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.worker.backends.backend import Batch, Context, nothing
from paretopipe_runtime.worker.backends.rpc_calls import Inbox, serve
from paretopipe_runtime.worker.backends.rpc_chain import CalledSource, CallSink
from paretopipe_runtime.worker.backends.rpc_group import Group
from paretopipe_runtime.worker.node import Node

Place = tuple[str, str, int]  # host, address, port
NOWHERE: Place = ("", "", 0)

#: Answers of `told`; global because RPC finds the function by its module.
_told: queue.SimpleQueue[float] = queue.SimpleQueue()


def told() -> float:
    """Return the called process's processor seconds; called over RPC."""
    return _told.get(timeout=TIMEOUT_S)


class Caller(CallSink):
    """Sink that also counts answered calls."""

    cipher: str | None = None

    def __init__(self, form: Form, context: Context, group: Group) -> None:
        super().__init__(context, group)
        self._output = filled(form)
        self._answers: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._calls = 0
        self._awaited = 0

    def move(self) -> None:
        batch = Batch(self._calls, torch.empty(0), 0.0, nothing)
        self._calls += 1
        self.send(batch, self._output)

    def await_ack(self) -> None:
        """Wait for the answers to all calls so far."""
        while self._awaited < self._calls:
            self._answers.get(timeout=TIMEOUT_S)
            self._awaited += 1

    def hear(self) -> float:
        return float(rpc.rpc_sync(self._next, told))

    def _answered(self, answer: torch.futures.Future[None]) -> None:
        super()._answered(answer)
        self._answers.put(None)


class Called:
    def __init__(self, inbox: Inbox) -> None:
        self._batches = iter(CalledSource(inbox))

    def move(self) -> None:
        """Take up a call, which answers it."""
        next(self._batches).release()

    def send_ack(self) -> None:
        """Do nothing: `move` has answered."""

    def tell(self, seconds: float) -> None:
        _told.put(seconds)


def sending_end(form: Form, node: Node, to: Place, control: Channel) -> Caller:
    """Join the RPC group with the peer ``to`` (host, address, port)."""
    context = _context(form, node, control, socket.socket(), 0, to)
    group = Group(context, lambda: None)
    group.join()
    return Caller(form, context, group)


def receiving_end(form: Form, node: Node, link: socket.socket) -> Called:
    """Join the RPC group of the peer that opened this link."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # Stands in for the stage's connection to the orchestrator.
    control = Channel(ours, "orchestrator")
    context = _context(form, node, control, theirs, 1)
    plan = context.order.link_digest(after=False)
    socket.send_fds(ours, [plan.encode()], [link.fileno()])  # as the agent does for a stage
    inbox = Inbox(context.order.takes, context.fail)
    group = Group(context, inbox.close)
    serve(inbox)
    group.join()
    return Called(inbox)


def _context(
    form: Form, node: Node, control: Channel, links: socket.socket, stage: int, to: Place = NOWHERE
) -> Context:
    own = Variant(allocator=form.allocator)
    chain = Chain(
        tuple(Worker(*place, own) for place in (NOWHERE, to)),
        Variant(backend="rpc", transport="plain"),
    )
    parts = [Part(0, 0, form.tensor, form.tensor)] * len(chain.workers)
    order = orders_of(chain, parts, form.name, Deadlines(TIMEOUT_S, TIMEOUT_S))[stage]
    return Context(node, order, control, links, "contiguous", fail)
