"""Two more backends, for the benchmark only. Every run is proved: predictions go in our frames.

``pickle``
    The method of the paper's code: pickled tensors over a blocking socket. One thread receives
    (``data += more``), computes and sends in turn. Unlike the original it has resident inputs and
    no Nagle delay. Unpickling runs what the peer sends.
``alone``
    The stages without payload, for the limit: each computes on resident inputs, the tensors that
    its predecessor would have sent; only headers cross the link. Runs end as
    ``invalid:bytes_mismatch``.
"""

from __future__ import annotations

import pickle  # nosec B403 # the method that is compared
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from paretopipe_runtime import weights
from paretopipe_runtime.contract.weights import WeightsManifest
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import FrameType
from paretopipe_runtime.worker.backends.backend import (
    Batch,
    Context,
    Ends,
    PredictionSink,
    ResidentSource,
    Sink,
    Source,
    links_from_previous,
    links_to_next,
    nothing,
    requests,
    resident_inputs,
)

_LENGTH = struct.Struct(">Q")


def connect(context: Context) -> Ends:
    order = context.order
    source_from, sink_to = _ENDS[order.backend]
    if not order.onward:
        sink: Sink = PredictionSink(context)
    else:
        (link,) = links_to_next(context.node, order)
        sink = sink_to(link, order.io_timeout_s)
    if order.stage == 0:
        resident = ResidentSource(context)
        return Ends(resident, sink, resident.input_digest)
    (link,) = links_from_previous(context.links, order)
    return Ends(source_from(link, context), sink)


def send_pickled(sock: socket.socket, message: object) -> None:
    """Send one pickled object, preceded by its length."""
    data = pickle.dumps(message)
    sock.sendall(_LENGTH.pack(len(data)))
    sock.sendall(data)


def receive_pickled(sock: socket.socket) -> tuple[Any, float]:
    """Return an object and the seconds since its length came.

    Raises ``E_TRUNC`` if the peer closes the connection earlier.
    """
    (length,) = _LENGTH.unpack(_receive(sock, _LENGTH.size))
    start = time.perf_counter()
    message = pickle.loads(_receive(sock, length))  # noqa: S301 # nosec B301 # the method compared
    return message, time.perf_counter() - start


def _receive(sock: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = sock.recv(length - len(data))
        if not more:
            raise ParetoPipeError("E_TRUNC", f"pickle: the peer left at {len(data)}/{length} B")
        data += more
    return data


class PickleSource:
    """Batches of a later stage: pickled ``(batch_id, tensor)``, then None."""

    def __init__(self, link: Channel, context: Context) -> None:
        link.sock.settimeout(context.order.idle_timeout_s)
        self._sock = link.sock
        self.payload_received = 0

    def __iter__(self) -> Iterator[Batch]:
        while True:
            message, receive_s = receive_pickled(self._sock)
            if message is None:
                return
            batch_id, tensor = message
            self.payload_received += tensor.nbytes
            yield Batch(batch_id, tensor, receive_s, nothing)


class PickleSink:
    """Sink that sends each output before the stage goes on."""

    def __init__(self, link: Channel, io_timeout_s: float) -> None:
        link.sock.settimeout(io_timeout_s)
        self._sock = link.sock
        self.payload_sent = 0

    def send(self, batch: Batch, output: torch.Tensor) -> None:
        send_pickled(self._sock, (batch.batch_id, output))
        self.payload_sent += output.nbytes
        batch.release()

    def finish(self) -> None:
        send_pickled(self._sock, None)


class HeaderSource:
    """Resident batches of a later stage, selected by the headers received."""

    payload_received = 0

    def __init__(self, link: Channel, context: Context) -> None:
        self._batch_ids = requests(link, context.order.idle_timeout_s)
        self._tensors = _boundary_tensors(context)

    def __iter__(self) -> Iterator[Batch]:
        for batch_id in self._batch_ids:
            # A stage's first block may work in place: the resident tensor must stay as it is.
            tensor = self._tensors[batch_id % len(self._tensors)].clone()
            yield Batch(batch_id, tensor, 0.0, nothing)


def _boundary_tensors(context: Context) -> list[torch.Tensor]:
    """Return the output of the earlier stages for the input batches."""
    order = context.order
    inputs, _ = resident_inputs(context)
    manifest = WeightsManifest.from_json(order.manifest)
    before = weights.load_stage(
        order.model, order.classes, manifest, context.node.store, 0, order.first
    )
    with torch.inference_mode():
        tensors = [before(tensor) for tensor in inputs]
    if context.layout == "channels_last" and tensors[0].dim() == 4:
        tensors = [tensor.contiguous(memory_format=torch.channels_last) for tensor in tensors]
    return tensors


class HeaderSink:
    """Sink that drops the output and sends its header."""

    payload_sent = 0

    def __init__(self, link: Channel, io_timeout_s: float) -> None:
        self._link = link
        self._io_timeout_s = io_timeout_s

    def send(self, batch: Batch, output: torch.Tensor) -> None:
        del output
        batch.release()
        self._link.send(FrameType.REQUEST, batch_id=batch.batch_id, timeout=self._io_timeout_s)

    def finish(self) -> None:
        self._link.send(FrameType.END, timeout=self._io_timeout_s)


_ENDS: dict[str, tuple[Callable[[Channel, Context], Source], Callable[[Channel, float], Sink]]] = {
    "pickle": (PickleSource, PickleSink),
    "alone": (HeaderSource, HeaderSink),
}
