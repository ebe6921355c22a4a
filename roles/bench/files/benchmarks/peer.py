"""Transport benchmark's process on a node: one forked child per connection.

The orchestrator connects as ``send``, once for each method and size, and each of its messages is
answered with a round's times; the child connects to the other node as ``receive``.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any

import torch

from benchmarks import transport
from benchmarks.form import TIMEOUT_S, Form
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import handshake
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.connect import agent_hello, client_certificate
from paretopipe_runtime.worker import allocator
from paretopipe_runtime.worker.node import Node


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
        hello = handshake.accept(sock, node.keys.shared, greeting)
        torch.set_num_threads(1)
        if hello["role"] == "send":
            _send(node, sock, hello)
        else:
            _receive(node, sock, hello)
        status = 0
    except ParetoPipeError as error:
        print(error, file=sys.stderr, flush=True)
    except BaseException as error:  # a forked child must never return to the parent's code
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stderr.flush()
        os._exit(status)


def _receive(node: Node, sock: socket.socket, hello: dict[str, Any]) -> None:
    # The RPC classes connect as stages do, and carry nothing of ours but the run's name.
    form = Form.parse(str(hello["run_id"])) if hello["role"] == "link" else Form(**hello["form"])
    allocator.apply(form.allocator)
    end = transport.receiving_end(form, node, sock, client_certificate(hello))
    while True:
        transport.receive_round(end, form)


def _send(node: Node, sock: socket.socket, hello: dict[str, Any]) -> None:
    control = Channel(sock, "orchestrator")
    form = Form(**hello["form"])
    host, address, port = hello["to"]
    try:
        allocator.apply(form.allocator)
        end = transport.sending_end(form, node, (str(host), str(address), int(port)), control)
        control.send_message({"ready": True}, timeout=TIMEOUT_S)
        while control.receive_message(3600.0):
            control.send_message(transport.send_round(end, form), timeout=TIMEOUT_S)
    except ParetoPipeError as error:
        if error.code != "E_TRUNC":  # the orchestrator closed: it is done
            control.send_error(ParetoPipeError(error.code, f"{node.name}: {error.message}"))
            raise
