"""Send a tensor from host to host by several methods over authenticated connections.

A round is `pings` tensors, each acknowledged by one byte, then `streams` tensors with one
acknowledgement at the end.

==========  ========================================================================
``raw``     ``sendall`` and ``recv_into`` on one buffer
``ours``    the socket backend's `TensorSink` and `TensorSource`, with checksums
``tls``     ``ours`` over TLS as between stages
``rpc``     the RPC backend's classes, see `rpc_transport`
``pickle``  the method of the paper's code, see `pickle_backend`
==========  ========================================================================
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol

import torch

from benchmarks.form import TIMEOUT_S, Form
from benchmarks.pickle_backend import receive_pickled, send_pickled
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.connect import accept_channel, open_channel
from paretopipe_runtime.worker.backends.backend import Batch, TensorSink
from paretopipe_runtime.worker.backends.socket import TensorSource
from paretopipe_runtime.worker.devices import memory
from paretopipe_runtime.worker.node import Node

_ACK = b"\x06"
_SECONDS = struct.Struct("!d")


class End(Protocol):
    """One side of a connection; `cipher` is its encryption, if any."""

    cipher: str | None

    def move(self) -> None:
        """Send or receive one tensor."""

    def send_ack(self) -> None: ...

    def await_ack(self) -> None: ...

    def tell(self, seconds: float) -> None:
        """Send the receiver's processor seconds, after the sender's clock has stopped."""

    def hear(self) -> float:
        """Receive what the peer tells."""


def sending_end(form: Form, node: Node, to: tuple[str, str, int], control: Channel) -> End:
    """Connect to the peer ``to`` (host, address, port)."""
    if form.method == "rpc":
        from benchmarks import rpc_transport  # a torch without RPC lacks what it needs

        return rpc_transport.sending_end(form, node, to, control)
    hello = {"role": "receive", "form": form.to_message()}
    # Blocking, bounded by the unit: a timeout would cost the raw socket a poll per call.
    channel, _ = open_channel(
        *(to[0], to[1:], node.keys, hello), transport=form.transport, timeout=TIMEOUT_S
    )
    return _ENDS[form.method][0](form, channel)


def receiving_end(form: Form, node: Node, sock: socket.socket, fingerprint: str | None) -> End:
    """Return the receiving end on an accepted connection.

    Parameters
    ----------
    fingerprint : str or None
        Fingerprint of the sending end's certificate, for TLS.
    """
    if form.method == "rpc":
        from benchmarks import rpc_transport

        return rpc_transport.receiving_end(form, node, sock)
    return _ENDS[form.method][1](
        form, accept_channel(sock, "peer", fingerprint, node.keys.identity)
    )


def send_round(end: End, form: Form) -> dict[str, Any]:
    """Send one round; return seconds of each ping and of the stream.

    ``processor_s`` has the sender's and the receiver's processor time for the stream, of all
    threads and the kernel.
    """
    one_way_s = []
    for _ in range(form.pings):
        start = time.perf_counter()
        end.move()
        end.await_ack()
        one_way_s.append(time.perf_counter() - start)
    before = time.process_time()
    start = time.perf_counter()
    for _ in range(form.streams):
        end.move()
    end.await_ack()
    stream_s = time.perf_counter() - start
    processor_s = [time.process_time() - before, end.hear()]
    return {
        "one_way_s": one_way_s,
        "stream_s": stream_s,
        "processor_s": processor_s,
        "cipher": end.cipher,
    }


def receive_round(end: End, form: Form) -> None:
    for _ in range(form.pings):
        end.move()
        end.send_ack()
    before = time.process_time()
    for _ in range(form.streams):
        end.move()
    end.send_ack()
    end.tell(time.process_time() - before)


class _Words:
    """Small reads and writes on an encrypted socket, with only a channel's calls."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        return self._sock.fileno()

    def sendall(self, data: bytes) -> None:
        while data:
            data = data[self._sock.sendmsg([data]) :]

    def recv(self, size: int) -> bytes:
        data = bytearray(size)
        return bytes(data[: self._sock.recv_into(data)])


class _OverSocket:
    def __init__(self, channel: Channel) -> None:
        self.sock = channel.sock
        self.cipher = channel.cipher
        self._words = _Words(channel.sock) if channel.cipher else channel.sock

    def send_ack(self) -> None:
        self._words.sendall(_ACK)

    def await_ack(self) -> None:
        poll = select.poll()
        poll.register(self._words, select.POLLIN)
        if not poll.poll(TIMEOUT_S * 1000) or self._words.recv(1) != _ACK:
            raise ParetoPipeError("E_STALL", f"no acknowledgement within {TIMEOUT_S:.0f} s")

    def tell(self, seconds: float) -> None:
        self._words.sendall(_SECONDS.pack(seconds))

    def hear(self) -> float:
        said = b""
        while len(said) < _SECONDS.size:
            more = self._words.recv(_SECONDS.size - len(said))
            if not more:
                raise ParetoPipeError("E_PEER_LOST", "the receiving end left")
            said += more
        return float(_SECONDS.unpack(said)[0])


class RawSender(_OverSocket):
    def __init__(self, form: Form, channel: Channel) -> None:
        super().__init__(channel)
        self._buffer = filled(form).numpy().data.cast("B")

    def move(self) -> None:
        self.sock.sendall(self._buffer)


class RawReceiver(_OverSocket):
    def __init__(self, form: Form, channel: Channel) -> None:
        super().__init__(channel)
        self._buffer = memoryview(bytearray(form.nbytes))

    def move(self) -> None:
        done = 0
        while done < len(self._buffer):
            count = self.sock.recv_into(self._buffer[done:])
            if not count:
                raise ParetoPipeError("E_TRUNC", "raw: the peer left")
            done += count


class OurSender(_OverSocket):
    def __init__(self, form: Form, channel: Channel) -> None:
        super().__init__(channel)
        self._sink = TensorSink(
            channel,
            form.tensor,
            layout="contiguous",
            io_timeout_s=TIMEOUT_S,
            fail=fail,
        )
        self._output = filled(form)
        self._batch = Batch(0, torch.empty(0), 0.0, lambda: None)

    def move(self) -> None:
        self._sink.send(self._batch, self._output)


class OurReceiver(_OverSocket):
    def __init__(self, form: Form, channel: Channel) -> None:
        super().__init__(channel)
        source = TensorSource(
            channel,
            form.tensor,
            layout="contiguous",
            io_timeout_s=TIMEOUT_S,
            idle_timeout_s=TIMEOUT_S,
            fail=fail,
        )
        self._batches: Iterator[Batch] = iter(source)

    def move(self) -> None:
        next(self._batches).release()


class PickleSender(_OverSocket):
    def __init__(self, form: Form, channel: Channel) -> None:
        super().__init__(channel)
        self._output = filled(form)

    def move(self) -> None:
        send_pickled(self.sock, self._output)


class PickleReceiver(_OverSocket):
    def __init__(self, form: Form, channel: Channel) -> None:
        super().__init__(channel)
        self._expected = form.nbytes

    def move(self) -> None:
        tensor = receive_pickled(self.sock)
        if not isinstance(tensor, torch.Tensor) or tensor.nbytes != self._expected:
            raise ParetoPipeError("E_SHAPE", f"pickle: {type(tensor).__name__} of another size")


def filled(form: Form) -> torch.Tensor:
    """Return a tensor of changing bytes: zeros might be compressed or deduplicated."""
    tensor, buffer = memory.empty(form.tensor, "contiguous")
    for start in range(0, len(buffer), 251):
        buffer[start : start + 251] = bytes(range(251))[: len(buffer) - start]
    return tensor


def fail(error: ParetoPipeError) -> NoReturn:
    """End a benchmark process from any thread; the peer sees the connection close."""
    print(error, file=sys.stderr, flush=True)
    os._exit(1)


_ENDS: dict[str, tuple[Callable[..., End], Callable[..., End]]] = {
    "raw": (RawSender, RawReceiver),
    "ours": (OurSender, OurReceiver),
    "tls": (OurSender, OurReceiver),
    "pickle": (PickleSender, PickleReceiver),
}
