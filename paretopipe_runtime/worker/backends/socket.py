"""The socket backend: raw tensor bytes in frames, moved while the stage computes.

Whatever the kernel can do alone needs no thread, and a thread that is not needed is a hand-over
saved. A batch of up to 1 MiB arrives in the receive buffer during the computation, so
the stage reads it itself; such an output goes to the kernel from the stage's own hands as far as it
takes it. Larger ones have a thread at their end that moves them during the computation: at most one
batch waits there, so that a slow stage holds the one before it back and memory stays at two
activations an end.

Receive buffers are allocated once and used in turn.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator

import torch

from paretopipe_runtime import golden
from paretopipe_runtime.contract.factors import Layout
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import frames, tcp
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.connect import accept_channel, open_channel
from paretopipe_runtime.wire.frames import FrameType, Tensor
from paretopipe_runtime.wire.outgoing import Outgoing
from paretopipe_runtime.wire.tls import Identity
from paretopipe_runtime.worker.backends.backend import Batch, Context, Ends, Fail, Sink, Source
from paretopipe_runtime.worker.devices import memory
from paretopipe_runtime.worker.node import Node
from paretopipe_runtime.worker.order import StageOrder

CHAIN_TIMEOUT_S = 30.0
SMALL_NBYTES = 1024 * 1024  # up to here a hand-over to a thread costs more than it saves
BUFFERS = 2  # one that the stage works on, one that fills meanwhile


def connect(context: Context) -> Ends:
    """Connect to the stages before and after; the last one answers the orchestrator.

    Raises
    ------
    ParetoPipeError
        ``E_SIZE`` for a tensor that no frame may carry, and what the connections have to say.
    """
    order = context.order
    arriving_nbytes = order.takes.nbytes if order.stage else 0
    if arriving_nbytes > frames.MAX_PAYLOAD:
        raise ParetoPipeError(
            "E_SIZE",
            f"a batch of {arriving_nbytes} B between two hosts, at most {frames.MAX_PAYLOAD} B — "
            "choose a smaller -e batch=…",
        )
    last = order.next_stage is None
    downstream = context.control if last else link_to_next(context.node, order)
    sink: Sink = TensorSink(
        downstream,
        order.gives,
        layout=context.layout,
        # Who takes it may be computing and read nothing meanwhile, for as long as a batch may take.
        io_timeout_s=order.idle_timeout_s,
        fail=context.fail,
    )
    if order.stage == 0:
        source, digest = resident_source(context)
        return Ends(source, sink, digest)
    link = link_from_previous(context.links, order, context.node.identity)
    arriving: Source = TensorSource(
        link,
        order.takes,
        layout=context.layout,
        io_timeout_s=order.io_timeout_s,
        idle_timeout_s=order.idle_timeout_s,
        fail=context.fail,
        pinned=context.pinned,
    )
    return Ends(arriving, sink, cipher=link.cipher)


def link_to_next(node: Node, order: StageOrder) -> Channel:
    """Return an authenticated connection to the next stage, which its host's agent passes on."""
    assert order.next_stage is not None
    host, address, port = order.next_stage
    hello = {
        "role": "link",
        "node": node.name,
        "run_id": order.run_id,
        "stage": order.stage + 1,
        "plan": order.link_digest(after=True),
    }
    link, _ = open_channel(
        *(host, (address, port), node.keys, hello),
        transport=order.transport,
        timeout=CHAIN_TIMEOUT_S,
        via=order.via,
    )
    tcp.bear(link.sock, order.idle_timeout_s)
    return link


def link_from_previous(
    links: socket.socket, order: StageOrder, identity: Identity | None = None
) -> Channel:
    """Return the connection that the previous stage made.

    Raises
    ------
    ParetoPipeError
        ``E_CHAIN`` where none came, ``E_PLAN`` where its stage follows another plan, ``E_TLS``
        where that asks for TLS and it does not come about.
    """
    links.settimeout(CHAIN_TIMEOUT_S)
    try:
        said, descriptors, _, _ = socket.recv_fds(links, 128, 1)
        link = socket.socket(fileno=descriptors[0])
    except (OSError, IndexError) as error:  # or the agent is gone
        raise ParetoPipeError(
            "E_CHAIN", f"stage {order.stage} never connected — is the link between them up?"
        ) from error
    plan, named = said[:64].decode(), said[64:].decode()
    tls = order.transport == "tls"
    # The digest has the transport in it; that the certificate is named only where it is TLS, not.
    if plan != order.link_digest(after=False) or bool(named) != tls:
        link.close()
        raise ParetoPipeError(
            "E_PLAN",
            f"stage {order.stage} and the one after it follow different plans — run "
            "playbooks/provision.yml on both",
        )
    return accept_channel(link, f"stage {order.stage}", named or None, identity)


def resident_source(context: Context) -> tuple[Source, str]:
    """Return a source of the input batches that are on the first host already, and their digest."""
    tensors, digest = resident_inputs(context)
    return ResidentSource(context.control, tensors, context.order.idle_timeout_s), digest


def resident_inputs(context: Context) -> tuple[list[torch.Tensor], str]:
    """Return the input batches, laid out as the engine takes them, and their digest."""
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
        layout: Layout,
        io_timeout_s: float,
        idle_timeout_s: float,
        fail: Fail,
        pinned: bool = False,
    ) -> None:
        self._link = link
        self._expected = expected
        self._io_timeout_s = io_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._fail = fail
        self._free: queue.SimpleQueue[tuple[torch.Tensor, memoryview]] = queue.SimpleQueue()
        for _ in range(BUFFERS):
            self._free.put(memory.empty(expected, layout, pinned=pinned))
        alone = expected.nbytes <= SMALL_NBYTES and kernel_holds(link.sock, expected.nbytes)
        self.overlaps_by_thread = not alone

    @property
    def payload_received(self) -> int:
        """Tensor bytes received so far."""
        return self._link.payload_received

    def __iter__(self) -> Iterator[Batch]:
        if self.overlaps_by_thread:
            return self._read_ahead()
        return iter(self._receive_one, None)

    def _read_ahead(self) -> Iterator[Batch]:
        arrived: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()  # bounded by the buffers
        threading.Thread(target=self._receive, args=(arrived.put,), daemon=True).start()
        while (batch := arrived.get()) is not None:
            yield batch

    def _receive(self, put: Callable[[Batch | None], None]) -> None:
        try:
            while (batch := self._receive_one()) is not None:
                put(batch)
            put(None)
        except ParetoPipeError as error:
            self._fail(error)

    def _receive_one(self) -> Batch | None:
        tensor, buffer = self._free.get()
        header = self._link.receive_header(self._idle_timeout_s)
        if header.type is FrameType.END:
            return None
        self._expected.check(header, self._link.peer)
        receive_s = self._link.receive_payload(header, buffer, self._io_timeout_s)
        return Batch(header.batch_id, tensor, receive_s, lambda: self._free.put((tensor, buffer)))


class TensorSink:
    """Sends outputs on `channel`: to the next stage or, from the last one, to the orchestrator."""

    def __init__(
        self, channel: Channel, promised: Tensor, *, layout: Layout, io_timeout_s: float, fail: Fail
    ) -> None:
        self._channel = channel
        self._promised = promised
        self._layout = layout
        self._io_timeout_s = io_timeout_s
        self._fail = fail
        self._room = threading.Lock()  # taken while an output is in the thread's hands
        self._leaving: queue.SimpleQueue[tuple[Outgoing, Callable[[], None]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def payload_sent(self) -> int:
        """Tensor bytes sent so far."""
        return self._channel.payload_sent

    def send(self, batch: Batch, output: torch.Tensor) -> None:
        """Send one output, or let the thread send it; blocks while the one before is leaving."""
        memory.check_form(output, self._promised, batch.batch_id)
        release = batch.release
        if not memory.shares_memory(output, batch.tensor):
            batch.release()
            release = _nothing
        self._room.acquire()
        outgoing = self._channel.offer(
            FrameType.TENSOR,
            memory.as_bytes(output, self._layout),
            batch_id=batch.batch_id,
            dtype=self._promised.dtype,
            shape=self._promised.shape,
        )
        if outgoing:
            self._hand_over(outgoing, release)
        else:
            self._room.release()
            release()

    def finish(self) -> None:
        """Wait until the last output is on its way, then end the stream."""
        self._room.acquire()
        self._channel.send(FrameType.END, timeout=self._io_timeout_s)

    def _hand_over(self, outgoing: Outgoing, release: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._send, daemon=True)
            self._thread.start()
        self._leaving.put((outgoing, release))

    def _send(self) -> None:
        while True:
            outgoing, release = self._leaving.get()
            try:
                outgoing.complete(self._io_timeout_s)
            except ParetoPipeError as error:
                self._fail(error)
            release()
            del outgoing, release  # or the output would stay in memory until the next one comes
            self._room.release()


def kernel_holds(sock: socket.socket, nbytes: int) -> bool:
    """Let the kernel make room for one whole frame on `sock`; return whether it has.

    A low-water mark makes Linux grow the receive buffer at once, up to half of ``tcp_rmem``'s
    maximum, without privileges and without turning its auto-tuning off as SO_RCVBUF would. Half of
    a buffer is bookkeeping.
    """
    frame = nbytes + frames.HEADER_SIZE + 8
    with contextlib.suppress(OSError):  # a kernel or a socket without it: then a thread reads
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, min(frame, 2**31 - 1))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    return frame <= sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2


def _nothing() -> None:
    """What there is to release where the buffer is free already."""
