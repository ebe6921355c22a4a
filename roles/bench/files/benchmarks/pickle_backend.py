"""The method of the paper's code as a backend: pickled tensors over a blocking socket.

Written anew, to have its cost in the same run as ours: a length, the pickled tensor, received with
``data += more``, and one thread that receives, computes and sends in turn. Better than the original
in what is not the method: no Nagle delay, resident inputs, and the predictions, a few kilobytes,
go to the orchestrator in our frames, so that every run is proved like any other.

For the benchmark only: unpickling runs what the peer sends.
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
    """Connect to the stages before and after; the last one answers the orchestrator."""
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
    """Send one pickled object behind its length."""
    data = pickle.dumps(message)
    sock.sendall(_LENGTH.pack(len(data)))
    sock.sendall(data)


def receive_pickled(sock: socket.socket) -> object:
    """Receive one pickled object, as `send_pickled` sends it."""
    (length,) = _LENGTH.unpack(receive_bytes(sock, _LENGTH.size))
    return pickle.loads(receive_bytes(sock, length))  # noqa: S301 # nosec B301 # the method compared


def receive_bytes(sock: socket.socket, length: int) -> bytes:
    """Receive exactly so many bytes.

    Raises
    ------
    ParetoPipeError
        ``E_TRUNC`` where the peer closes the connection before.
    """
    data = b""
    while len(data) < length:
        more = sock.recv(length - len(data))
        if not more:
            raise ParetoPipeError("E_TRUNC", f"pickle: the peer left at {len(data)}/{length} B")
        data += more
    return data


class PickleSource:
    """A later stage's source: pickled ``(batch_id, tensor)``, and None at the end."""

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
    """Sends each output before the stage goes on."""

    def __init__(self, sock: socket.socket, io_timeout_s: float) -> None:
        sock.settimeout(io_timeout_s)
        self._sock = sock
        self.payload_sent = 0

    def send(self, batch: Batch, output: torch.Tensor) -> None:
        """Pickle and send one output."""
        send_pickled(self._sock, (batch.batch_id, output))
        self.payload_sent += output.nbytes
        batch.release()

    def finish(self) -> None:
        """Tell the next stage that the run is over."""
        send_pickled(self._sock, None)
