"""Send a tensor from host to host by several methods over authenticated connections.

A round is `pings` tensors, each acknowledged by one byte, then `streams` tensors with one
acknowledgement at the end. The orchestrator connects to a node as ``send``, once for each method
and size, and each of its messages is answered with a round's times; a forked child serves the
connection, and connects to the other node as ``receive``.

==========  ========================================================================
``raw``     ``sendall`` and ``recv_into`` on one buffer
``ours``    the socket backend's `TensorSink` and `TensorSource`, with checksums
``tls``     ``ours`` over TLS as between stages
``rpc``     the RPC backend's classes, see `rpc_transport`
``pickle``  the method of the paper's code, see `backends`
==========  ========================================================================
"""

from __future__ import annotations

import itertools
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from benchmarks.backends import receive_pickled, send_pickled
from benchmarks.node import TIMEOUT_S, Form
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import handshake
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.connect import (
    accept_channel,
    agent_hello,
    client_certificate,
    open_channel,
)
from paretopipe_runtime.worker import allocator
from paretopipe_runtime.worker.backends.backend import Batch, TensorSink, nothing
from paretopipe_runtime.worker.backends.socket import TensorSource
from paretopipe_runtime.worker.devices import memory
from paretopipe_runtime.worker.node import Node

if TYPE_CHECKING:
    from benchmarks.rpc_transport import Called, Caller

_ACK = b"\x06"
_SECONDS = struct.Struct("!d")

Move = Callable[[], None]


def serve(node: Node, port: int) -> None:
    """Serve until killed. Imports torch once, and starts no thread before a fork."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
    greeting = agent_hello(node.name, node.keys.identity)
    with socket.create_server((node.address, port)) as listener:
        while True:
            sock, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _child(node, sock, greeting)
            sock.close()


def _child(node: Node, sock: socket.socket, greeting: dict[str, Any]) -> None:
    status = 1
    try:
        hello = handshake.accept(sock, node.keys.own, greeting, links=node.keys.links)
        torch.set_num_threads(1)
        (_send if hello["role"] == "send" else _receive)(node, sock, hello)
        status = 0
    except ParetoPipeError as error:
        print(error, file=sys.stderr, flush=True)
    except BaseException as error:  # a forked child must never return to the parent's code
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stderr.flush()
        os._exit(status)


def _send(node: Node, sock: socket.socket, hello: dict[str, Any]) -> None:
    control = Channel(sock, "orchestrator")
    form = Form(**hello["form"])
    host, address, port = hello["to"]
    try:
        allocator.apply(form.allocator)
        end = _sending_end(form, node, (str(host), str(address), int(port)), control)
        control.send_message({"ready": True}, timeout=TIMEOUT_S)
        while control.receive_message(3600.0):
            control.send_message(send_round(end, form), timeout=TIMEOUT_S)
    except ParetoPipeError as error:
        if error.code != "E_TRUNC":  # the orchestrator closed: it is done
            control.send_error(ParetoPipeError(error.code, f"{node.name}: {error.message}"))
            raise


def _receive(node: Node, sock: socket.socket, hello: dict[str, Any]) -> None:
    # The RPC classes connect as stages do, and carry nothing of ours but the run's name.
    form = Form(**hello["form"]) if "form" in hello else Form.parse(str(hello["run_id"]))
    allocator.apply(form.allocator)
    end = _receiving_end(form, node, sock, client_certificate(hello))
    while True:
        receive_round(end, form)


def _sending_end(
    form: Form, node: Node, to: tuple[str, str, int], control: Channel
) -> OverSocket | Caller:
    """Connect to the peer ``to`` (host, address, port)."""
    if form.method == "rpc":
        from benchmarks import rpc_transport  # a torch without RPC lacks what it needs

        return rpc_transport.sending_end(form, node, to, control)
    hello = {"role": "link", "form": asdict(form)}
    # Blocking, bounded by the unit: a timeout would cost the raw socket a poll per call.
    channel, _ = open_channel(
        *(to[0], to[1:], node.keys, hello), transport=form.transport, timeout=TIMEOUT_S
    )
    return OverSocket(channel, _MOVES[form.method][0](form, channel))


def _receiving_end(
    form: Form, node: Node, sock: socket.socket, fingerprint: str | None
) -> OverSocket | Called:
    if form.method == "rpc":
        from benchmarks import rpc_transport

        return rpc_transport.receiving_end(form, node, sock)
    channel = accept_channel(sock, "peer", fingerprint, node.keys.identity)
    return OverSocket(channel, _MOVES[form.method][1](form, channel))


def send_round(end: OverSocket | Caller, form: Form) -> dict[str, Any]:
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


def receive_round(end: OverSocket | Called, form: Form) -> None:
    for _ in range(form.pings):
        end.move()
        end.send_ack()
    before = time.process_time()
    for _ in range(form.streams):
        end.move()
    end.send_ack()
    end.tell(time.process_time() - before)


class OverSocket:
    """Either end of a connection; of an encrypted socket only a channel's calls work."""

    def __init__(self, channel: Channel, move: Move) -> None:
        self.move = move
        self.cipher = channel.cipher
        self._sock = channel.sock

    def send_ack(self) -> None:
        self._write(_ACK)

    def await_ack(self) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        if not poll.poll(TIMEOUT_S * 1000) or self._read(1) != _ACK:
            raise ParetoPipeError("E_STALL", f"no acknowledgement within {TIMEOUT_S:.0f} s")

    def tell(self, seconds: float) -> None:
        """Send the receiver's processor seconds, after the sender's clock has stopped."""
        self._write(_SECONDS.pack(seconds))

    def hear(self) -> float:
        said = b""
        while len(said) < _SECONDS.size:
            more = self._read(_SECONDS.size - len(said))
            if not more:
                raise ParetoPipeError("E_PEER_LOST", "the receiving end left")
            said += more
        return float(_SECONDS.unpack(said)[0])

    def _write(self, data: bytes) -> None:
        while data:
            data = data[self._sock.sendmsg([data]) :]

    def _read(self, most: int) -> bytes:
        data = bytearray(most)
        return bytes(data[: self._sock.recv_into(data)])


def _raw_sender(form: Form, channel: Channel) -> Move:
    buffer = filled(form).numpy().data.cast("B")
    return lambda: channel.sock.sendall(buffer)


def _raw_receiver(form: Form, channel: Channel) -> Move:
    buffer = memoryview(bytearray(form.nbytes))

    def move() -> None:
        done = 0
        while done < len(buffer):
            count = channel.sock.recv_into(buffer[done:])
            if not count:
                raise ParetoPipeError("E_TRUNC", "raw: the peer left")
            done += count

    return move


def _our_sender(form: Form, channel: Channel) -> Move:
    sink = TensorSink(channel, form.tensor, layout="contiguous", io_timeout_s=TIMEOUT_S, fail=fail)
    batch, output = Batch(0, torch.empty(0), 0.0, nothing), filled(form)
    return lambda: sink.send(batch, output)


def _our_receiver(form: Form, channel: Channel) -> Move:
    source = TensorSource(
        channel,
        form.tensor,
        itertools.repeat(0),
        layout="contiguous",
        io_timeout_s=TIMEOUT_S,
        idle_timeout_s=TIMEOUT_S,
        fail=fail,
    )
    batches = iter(source)
    return lambda: next(batches).release()


def _pickle_sender(form: Form, channel: Channel) -> Move:
    output = filled(form)
    return lambda: send_pickled(channel.sock, output)


def _pickle_receiver(form: Form, channel: Channel) -> Move:
    def move() -> None:
        tensor, _ = receive_pickled(channel.sock)
        if not isinstance(tensor, torch.Tensor) or tensor.nbytes != form.nbytes:
            raise ParetoPipeError("E_SHAPE", f"pickle: {type(tensor).__name__} of another size")

    return move


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


_MOVES: dict[str, tuple[Callable[[Form, Channel], Move], Callable[[Form, Channel], Move]]] = {
    "raw": (_raw_sender, _raw_receiver),
    "ours": (_our_sender, _our_receiver),
    "tls": (_our_sender, _our_receiver),
    "pickle": (_pickle_sender, _pickle_receiver),
}
