"""The communication backends' interface and common code.

Authenticated connections link the stages; the first holds its input, the last answers the
orchestrator in frames.
"""

from __future__ import annotations

import importlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, Protocol

import torch

from paretopipe_runtime import golden
from paretopipe_runtime.contract.factors import Layout
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import tcp
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.connect import accept_channel, open_channel
from paretopipe_runtime.wire.frames import FrameType, Tensor, check_turn
from paretopipe_runtime.wire.tls import Identity
from paretopipe_runtime.worker.devices import memory
from paretopipe_runtime.worker.node import Node
from paretopipe_runtime.worker.order import StageOrder

#: Reports the error to the orchestrator and ends the stage process.
Fail = Callable[[ParetoPipeError], NoReturn]
CHAIN_TIMEOUT_S = 30.0


class Batch(NamedTuple):
    """A batch at a stage; `receive_s` is None where unknown."""

    batch_id: int
    tensor: torch.Tensor
    receive_s: float | None
    release: Callable[[], None]


class Source(Protocol):
    """A stage's incoming end; iteration ends with the run."""

    def __iter__(self) -> Iterator[Batch]: ...

    @property
    def payload_received(self) -> int: ...


class Sink(Protocol):
    """A stage's outgoing end."""

    def send(self, batch: Batch, output: torch.Tensor) -> None:
        """Hand over one output; release `batch` once nothing needs its buffer."""

    def finish(self) -> None:
        """Wait until all is sent, then end the next stage's run."""

    @property
    def payload_sent(self) -> int: ...


@dataclass(frozen=True)
class Ends:
    """A stage's source and sink.

    `input_digest` proves a resident input; `cipher` encrypts arrivals. Either may be None.
    """

    source: Source
    sink: Sink
    input_digest: str | None = None
    cipher: str | None = None


@dataclass(frozen=True)
class Context:
    """A stage to connect.

    `control` is the orchestrator's connection; `links` passes the previous stage's. `layout` is
    the engine's; `pinned` asks for page-locked memory.
    """

    node: Node
    order: StageOrder
    control: Channel
    links: socket.socket
    layout: Layout
    fail: Fail
    pinned: bool = False


def connect(context: Context) -> Ends:
    """Connect a stage by its order's backend. Raises ``E_BACKEND``."""
    name, known = context.order.backend, context.node.backends
    if name not in known:
        raise ParetoPipeError(
            "E_BACKEND", f"no backend {name[:40]!r} on this host: known are {', '.join(known)}"
        )
    module = importlib.import_module(known[name])
    ends: Ends = module.connect(context)
    return ends


def links_to_next(node: Node, order: StageOrder) -> list[Channel]:
    """Connect to the next stage's hosts through their agents."""
    hello = {"role": "link", "node": node.name, "run_id": order.run_id, "stage": order.stage + 1}
    links = []
    for place, to in enumerate(order.onward):
        link, _ = open_channel(
            *(to.host, (to.address, to.port), node.keys),
            {**hello, "plan": order.link_digest(after=True, other=place)},
            transport=order.transport,
            timeout=CHAIN_TIMEOUT_S,
            via=to.via,
        )
        tcp.set_user_timeout(link.sock, order.idle_timeout_s)
        links.append(link)
    return links


def links_from_previous(
    links: socket.socket, order: StageOrder, identity: Identity | None = None
) -> list[Channel]:
    """Wait for the connections of the previous stage's hosts; return them in its order.

    Raises ``E_CHAIN`` for none, ``E_PLAN`` for another plan's, ``E_TLS`` where TLS fails.
    """
    awaited = {order.link_digest(after=False, other=n): n for n in range(order.senders)}
    found: dict[int, Channel] = {}
    try:
        while awaited:
            place, link = _link_from_previous(links, order, awaited, identity)
            found[place] = link
    except ParetoPipeError:
        for link in found.values():
            link.close()
        raise
    return [found[place] for place in sorted(found)]


def _link_from_previous(
    links: socket.socket, order: StageOrder, awaited: dict[str, int], identity: Identity | None
) -> tuple[int, Channel]:
    """Take one connection, and what names it off `awaited`; return its sender's place."""

    def sender(place: int) -> str:
        several = order.senders > 1
        return (
            f"{order.previous[place]}'s stage {order.stage}" if several else f"stage {order.stage}"
        )

    links.settimeout(CHAIN_TIMEOUT_S)
    try:
        said, descriptors, _, _ = socket.recv_fds(links, 128, 1)
        link = socket.socket(fileno=descriptors[0])
    except (OSError, IndexError) as error:  # or the agent is gone
        late = " and ".join(map(sender, awaited.values()))
        raise ParetoPipeError(
            "E_CHAIN", f"{late} never connected — is the link between them up?"
        ) from error
    plan, fingerprint = said[:64].decode(), said[64:].decode()
    tls = order.transport == "tls"
    # The digest has the transport in it; that the certificate is named only where it is TLS, not.
    if plan not in awaited or bool(fingerprint) != tls:
        link.close()
        raise ParetoPipeError(
            "E_PLAN",
            f"stage {order.stage} and the one after it follow different plans — run "
            "playbooks/provision.yml on both",
        )
    place = awaited.pop(plan)
    return place, accept_channel(link, sender(place), fingerprint or None, identity)


def requests(channel: Channel, timeout: float) -> Iterator[int]:
    """Yield the number of each requested batch, until the run ends."""
    while (header := channel.receive_header(timeout)).type is not FrameType.END:
        if header.type is not FrameType.REQUEST:
            raise ParetoPipeError("E_ORDER", f"{header.type.name} came, expected REQUEST")
        yield header.batch_id


def resident_inputs(context: Context) -> tuple[list[torch.Tensor], str]:
    """Make the run's input batches in the engine's layout, and their digest."""
    order = context.order
    count, seed = order.input_batches, order.input_seed
    if order.image_px:
        inputs = golden.input_batches(order.takes.shape[0], order.image_px, count, seed)
        tensors = [torch.from_numpy(array) for array in inputs]
    else:  # in PyTorch's own memory, as a stage's outputs are: PyTorch RPC copies any other
        inputs = golden.random_batches(order.takes.shape, count, seed)
        tensors = [torch.from_numpy(array).clone() for array in inputs]
    if context.layout == "channels_last":
        tensors = [tensor.contiguous(memory_format=torch.channels_last) for tensor in tensors]
    if context.pinned:
        tensors = [tensor.pin_memory() for tensor in tensors]
    return tensors, golden.input_digest(inputs)


class ResidentSource:
    """The first stage's source: requests arrive, the input is here."""

    payload_received = 0

    def __init__(self, context: Context) -> None:
        self._requests = requests(context.control, context.order.idle_timeout_s)
        self._turns = context.order.turns()
        self._inputs, self.input_digest = resident_inputs(context)

    def __iter__(self) -> Iterator[Batch]:
        for batch_id in self._requests:
            check_turn(batch_id, next(self._turns), "the orchestrator")
            yield Batch(batch_id, self._inputs[batch_id % len(self._inputs)], 0.0, nothing)


class TensorSink:
    """Sends outputs to the next stage, or to the orchestrator."""

    def __init__(
        self, channel: Channel, promised: Tensor, *, layout: Layout, io_timeout_s: float, fail: Fail
    ) -> None:
        self._channel = channel
        self._promised = promised
        self._layout = layout
        self._io_timeout_s = io_timeout_s
        self._fail = fail
        self._room = threading.Lock()  # taken while an output is in the thread's hands
        self._releases: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def payload_sent(self) -> int:
        return self._channel.payload_sent

    def send(self, batch: Batch, output: torch.Tensor) -> None:
        """Send an output, in the thread if any; block while another is leaving."""
        memory.check_form(output, self._promised, batch.batch_id)
        release = batch.release
        if not memory.shares_memory(output, batch.tensor):
            batch.release()
            release = nothing
        self._room.acquire()
        if self._channel.offer(
            FrameType.TENSOR,
            memory.as_bytes(output, self._layout),
            batch_id=batch.batch_id,
            dtype=self._promised.dtype,
            shape=self._promised.shape,
            codec=self._promised.codec,
        ):
            self._room.release()
            release()
        else:
            self._complete_by_thread(release)

    def finish(self) -> None:
        """Wait for the last output's departure, then end the stream."""
        self._room.acquire()
        self._channel.send(FrameType.END, timeout=self._io_timeout_s)

    def _complete_by_thread(self, release: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._complete, daemon=True)
            self._thread.start()
        self._releases.put(release)

    def _complete(self) -> None:
        while True:
            release = self._releases.get()
            try:
                self._channel.complete(self._io_timeout_s)
            except ParetoPipeError as error:
                self._fail(error)
            release()
            del release  # or the output would stay in memory until the next one comes
            self._room.release()


class PredictionSink(TensorSink):
    """Sends the last stage's outputs to the orchestrator."""

    def __init__(self, context: Context) -> None:
        order = context.order
        super().__init__(
            context.control,
            order.leaves,
            layout=context.layout,
            io_timeout_s=order.io_timeout_s,
            fail=context.fail,
        )


def nothing() -> None:
    """Release a batch whose buffer needs no releasing."""
