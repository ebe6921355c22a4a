"""Backend with the method of the paper's code: pickled tensors over a blocking socket.

One thread receives (``data += more``), computes and sends in turn. Unlike the original it has
resident inputs and no Nagle delay, and its predictions go to the orchestrator in our frames, so
that every run is proved. For the benchmark only: unpickling runs what the peer sends.
"""

from __future__ import annotations

import pickle  # nosec B403 # the method that is compared
import socket
import struct
import time
from collections.abc import Iterator

import torch

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.worker.backends.backend import (
    Batch,
    Context,
    Ends,
    ResidentSource,
    Sink,
    TensorSink,
    link_from_previous,
    link_to_next,
)

_LENGTH = struct.Struct(">Q")


def connect(context: Context) -> Ends:
    order = context.order
    if order.next_stage is None:
        sink: Sink = TensorSink(
            context.control,
            order.gives,
            layout=context.layout,
            io_timeout_s=order.io_timeout_s,
            fail=context.fail,
        )
    else:
        sink = PickleSink(link_to_next(context.node, order).sock, order.io_timeout_s)
    if order.stage == 0:
        resident = ResidentSource(context)
        return Ends(resident, sink, resident.input_digest)
    link = link_from_previous(context.links, order)
    return Ends(PickleSource(link.sock, order.idle_timeout_s), sink)


def send_pickled(sock: socket.socket, message: object) -> None:
    """Send one pickled object, preceded by its length."""
    data = pickle.dumps(message)
    sock.sendall(_LENGTH.pack(len(data)))
    sock.sendall(data)


def receive_pickled(sock: socket.socket) -> object:
    (length,) = _LENGTH.unpack(receive_bytes(sock, _LENGTH.size))
    return pickle.loads(receive_bytes(sock, length))  # noqa: S301 # nosec B301 # the method compared


def receive_bytes(sock: socket.socket, length: int) -> bytes:
    """Receive exactly `length` bytes.

    Raises
    ------
    ParetoPipeError
        ``E_TRUNC`` if the peer closes the connection earlier.
    """
    data = b""
    while len(data) < length:
        more = sock.recv(length - len(data))
        if not more:
            raise ParetoPipeError("E_TRUNC", f"pickle: the peer left at {len(data)}/{length} B")
        data += more
    return data


class PickleSource:
    """Batches of a later stage: pickled ``(batch_id, tensor)``, then None."""

    def __init__(self, sock: socket.socket, idle_timeout_s: float) -> None:
        sock.settimeout(idle_timeout_s)
        self._sock = sock
        self.payload_received = 0

    def __iter__(self) -> Iterator[Batch]:
        while True:
            (length,) = _LENGTH.unpack(receive_bytes(self._sock, _LENGTH.size))
            start = time.perf_counter()
            message = pickle.loads(receive_bytes(self._sock, length))  # noqa: S301 # nosec B301
            receive_s = time.perf_counter() - start
            if message is None:
                return
            batch_id, tensor = message
            self.payload_received += tensor.nbytes
            yield Batch(batch_id, tensor, receive_s, lambda: None)


class PickleSink:
    """Sink that sends each output before the stage goes on."""

    def __init__(self, sock: socket.socket, io_timeout_s: float) -> None:
        sock.settimeout(io_timeout_s)
        self._sock = sock
        self.payload_sent = 0

    def send(self, batch: Batch, output: torch.Tensor) -> None:
        send_pickled(self._sock, (batch.batch_id, output))
        self.payload_sent += output.nbytes
        batch.release()

    def finish(self) -> None:
        send_pickled(self._sock, None)
