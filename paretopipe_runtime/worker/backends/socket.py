"""The socket backend: raw tensor bytes in frames, moved during computation.

Batches up to 1 MiB need no thread, whose hand-over would cost more: the kernel receives during the
computation, and the stage sends. Larger ones have a thread at either end, with at most one batch
waiting: backpressure, and memory for two preallocated activations an end.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

import torch

from paretopipe_runtime.contract.factors import Layout
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import frames
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import FrameType, Tensor, check_turn
from paretopipe_runtime.worker.backends.backend import (
    Batch,
    Context,
    Ends,
    Fail,
    ResidentSource,
    Sink,
    Source,
    TensorSink,
    links_from_previous,
    links_to_next,
)
from paretopipe_runtime.worker.devices import memory

SMALL_NBYTES = 1024 * 1024  # up to here a hand-over to a thread costs more than it saves
BUFFERS = 2  # one that the stage works on, one that fills meanwhile


def connect(context: Context) -> Ends:
    """Connect the neighbouring stages; the last one answers the orchestrator.

    Raises ``E_SIZE`` for a tensor beyond a frame's limit.
    """
    order = context.order
    arriving_nbytes = order.arrives.nbytes if order.stage else 0
    if arriving_nbytes > frames.MAX_PAYLOAD:
        raise ParetoPipeError(
            "E_SIZE",
            f"a batch of {arriving_nbytes} B between two hosts, at most {frames.MAX_PAYLOAD} B — "
            "choose a smaller -e batch=…",
        )
    sinks = [
        TensorSink(
            downstream,
            order.leaves,
            layout=context.layout,
            # Who takes it may be computing and read nothing meanwhile, as long as a batch may take.
            io_timeout_s=order.idle_timeout_s,
            fail=context.fail,
        )
        for downstream in (links_to_next(context.node, order) or [context.control])
    ]
    sink: Sink = FanOut(sinks) if len(sinks) > 1 else sinks[0]
    if order.stage == 0:
        resident = ResidentSource(context)
        return Ends(resident, sink, resident.input_digest)
    links = links_from_previous(context.links, order, context.node.keys.identity)
    sources = [
        TensorSource(
            link,
            order.arrives,
            order.turns(sender),
            layout=context.layout,
            io_timeout_s=order.io_timeout_s,
            idle_timeout_s=order.idle_timeout_s,
            fail=context.fail,
            pinned=context.pinned,
        )
        for sender, link in enumerate(links)
    ]
    source: Source = FanIn(sources) if len(sources) > 1 else sources[0]
    ciphers = [link.cipher for link in links]
    return Ends(source, sink, cipher=ciphers[0] if all(ciphers) else None)


class TensorSource:
    """A later stage's source: tensors of exactly the planned form, each in its turn."""

    def __init__(
        self,
        link: Channel,
        expected: Tensor,
        turns: Iterator[int],
        *,
        layout: Layout,
        io_timeout_s: float,
        idle_timeout_s: float,
        fail: Fail,
        pinned: bool = False,
    ) -> None:
        self._link = link
        self._expected = expected
        self._turns = turns
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
        check_turn(header.batch_id, next(self._turns), self._link.peer)
        receive_s = self._link.receive_payload(header, buffer, self._io_timeout_s)
        return Batch(header.batch_id, tensor, receive_s, lambda: self._free.put((tensor, buffer)))


class FanIn:
    """Takes a batch of each host of the stage before in turn, and ends when all have ended."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    @property
    def payload_received(self) -> int:
        return sum(source.payload_received for source in self._sources)

    def __iter__(self) -> Iterator[Batch]:
        ends = [iter(source) for source in self._sources]
        for end in itertools.cycle(ends):
            batch = next(end, None)
            if batch is None:
                break
            yield batch
            del batch
        for end in ends:
            if (left := next(end, None)) is not None:
                raise ParetoPipeError(
                    "E_ORDER", f"batch {left.batch_id} came after the last, expected none"
                )


class FanOut:
    """Sends each batch to the host of the next stage whose turn it is."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks

    @property
    def payload_sent(self) -> int:
        return sum(sink.payload_sent for sink in self._sinks)

    def send(self, batch: Batch, output: torch.Tensor) -> None:
        self._sinks[batch.batch_id % len(self._sinks)].send(batch, output)

    def finish(self) -> None:
        for sink in self._sinks:
            sink.finish()


def kernel_holds(sock: socket.socket, nbytes: int) -> bool:
    """Make the kernel's buffer hold a whole frame; return whether it does.

    A low-water mark makes Linux grow the receive buffer at once, to at most half of
    ``tcp_rmem``'s maximum, and keeps auto-tuning, unlike SO_RCVBUF. Half of a buffer is
    bookkeeping.
    """
    frame = nbytes + frames.HEADER_SIZE + 8
    with contextlib.suppress(OSError):  # a kernel or a socket without it: then a thread reads
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, min(frame, 2**31 - 1))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    return frame <= sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
