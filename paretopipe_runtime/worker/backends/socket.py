"""The socket backend: raw tensor bytes in frames, moved during computation.

Batches up to 1 MiB need no thread, whose hand-over would cost more: the kernel receives during the
computation, and the stage sends. Larger ones have a thread at either end, with at most one batch
waiting: backpressure, and memory for two preallocated activations an end.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator

import torch

from paretopipe_runtime.contract.factors import Layout
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import frames
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import FrameType, Tensor
from paretopipe_runtime.worker.backends.backend import (
    Batch,
    Context,
    Ends,
    Fail,
    ResidentSource,
    TensorSink,
    link_from_previous,
    link_to_next,
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
    last = order.next_stage is None
    downstream = context.control if last else link_to_next(context.node, order)
    sink = TensorSink(
        downstream,
        order.leaves,
        layout=context.layout,
        # Who takes it may be computing and read nothing meanwhile, for as long as a batch may take.
        io_timeout_s=order.idle_timeout_s,
        fail=context.fail,
    )
    if order.stage == 0:
        resident = ResidentSource(context)
        return Ends(resident, sink, resident.input_digest)
    link = link_from_previous(context.links, order, context.node.keys.identity)
    arriving = TensorSource(
        link,
        order.arrives,
        layout=context.layout,
        io_timeout_s=order.io_timeout_s,
        idle_timeout_s=order.idle_timeout_s,
        fail=context.fail,
        pinned=context.pinned,
    )
    return Ends(arriving, sink, cipher=link.cipher)


class TensorSource:
    """A later stage's source: tensors of exactly the planned form."""

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
