"""One stage of one run, in a process of its own: load the blocks, chain up, compute, report."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import torch

from paretopipe_runtime import golden, weights
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire import handshake
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.worker.backend import Sink, Source
from paretopipe_runtime.worker.launch import Launch
from paretopipe_runtime.worker.node import Node
from paretopipe_runtime.worker.socket_backend import (
    Fail,
    ResidentSource,
    TensorSink,
    TensorSource,
)
from paretopipe_runtime.worker.telemetry import Telemetry

ORDER_TIMEOUT_S = 10.0
CHAIN_TIMEOUT_S = 30.0


def main(node: Node, control_socket: socket.socket, links: socket.socket) -> None:
    """Serve one run on an authenticated control connection, then return.

    Parameters
    ----------
    node : Node
        Where this process runs.
    control_socket : socket.socket
        The orchestrator's connection.
    links : socket.socket
        Unix socket over which the agent passes the previous stage's data connection.
    """
    control = Channel(control_socket, "orchestrator")

    def fail(error: ParetoPipeError) -> NoReturn:
        """Tell the orchestrator and go: a stage has nothing worth saving."""
        print(f"{node.name}: {error}", file=sys.stderr, flush=True)
        with contextlib.suppress(ParetoPipeError):  # the orchestrator may be gone too
            control.send_error(ParetoPipeError(error.code, f"{node.name}: {error.message}"))
        os._exit(1)

    try:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        order = Launch.from_message(control.receive_message(ORDER_TIMEOUT_S))
        _run(node, order, control, links, fail)
    except ParetoPipeError as error:
        fail(error)
    except MemoryError:
        fail(ParetoPipeError("E_MEMORY", "out of memory — a later split leaves less here"))
    except Exception as error:  # a worker must answer, whatever torch raises
        sys.excepthook(type(error), error, error.__traceback__)
        fail(ParetoPipeError("E_STAGE", f"{type(error).__name__}: {error}"))


def _run(node: Node, order: Launch, control: Channel, links: socket.socket, fail: Fail) -> None:
    with ThreadPoolExecutor(1) as chaining:  # three round trips, while the weights load
        chained = chaining.submit(_chain, node, order, control)
        manifest = weights.WeightsManifest.from_json(order.manifest)
        module = weights.load_stage(
            order.model, order.classes, manifest, node.store, order.first, order.end
        )
        source, input_digest = _source(order, control, links, fail)
        downstream = chained.result()
    sink: Sink = TensorSink(downstream, order.gives, io_timeout_s=order.io_timeout_s, fail=fail)
    finished = threading.Event()
    if order.stage > 0:
        threading.Thread(target=_watch, args=(control, order, finished, fail), daemon=True).start()
    telemetry = Telemetry()
    control.send_message(
        {"ready": True, "input_digest": input_digest, "host": telemetry.host},
        timeout=order.io_timeout_s,
    )
    telemetry.start()
    batches: list[tuple[int, float, float]] = []
    with torch.inference_mode():
        for batch in source:
            start = time.perf_counter()
            output = module(batch.tensor)
            compute_s = time.perf_counter() - start
            sink.send(batch, output)
            batches.append((batch.batch_id, batch.receive_s, compute_s))
    usage = telemetry.stop()
    sink.finish()
    finished.set()
    control.send_message(
        {
            "batches": batches,
            "payload_sent": sink.payload_sent,
            "payload_received": source.payload_received,
            **usage,
        },
        timeout=order.io_timeout_s,
    )


def _chain(node: Node, order: Launch, control: Channel) -> Channel:
    """Connect to the next stage; the last one answers the orchestrator."""
    if order.next_stage is None:
        return control
    host, address, port = order.next_stage
    hello = {"role": "link", "node": node.name, "run_id": order.run_id, "stage": order.stage + 1}
    sock, _ = handshake.connect((address, port), node.key, hello, timeout=CHAIN_TIMEOUT_S)
    return Channel(sock, host)


def _source(
    order: Launch, control: Channel, links: socket.socket, fail: Fail
) -> tuple[Source, str | None]:
    if order.stage == 0:
        inputs = golden.input_batches(
            order.takes.shape[0], order.image_px, order.input_batches, order.input_seed
        )
        tensors = [torch.from_numpy(array) for array in inputs]
        source = ResidentSource(control, tensors, order.idle_timeout_s)
        return source, golden.input_digest(inputs)
    links.settimeout(CHAIN_TIMEOUT_S)
    try:
        _, descriptors, _, _ = socket.recv_fds(links, 64, 1)
    except TimeoutError as error:
        raise ParetoPipeError(
            "E_CHAIN", f"stage {order.stage} never connected — is the link between them up?"
        ) from error
    link = Channel(socket.socket(fileno=descriptors[0]), f"stage {order.stage}")
    return (
        TensorSource(
            link,
            order.takes,
            io_timeout_s=order.io_timeout_s,
            idle_timeout_s=order.idle_timeout_s,
            fail=fail,
        ),
        None,
    )


def _watch(control: Channel, order: Launch, finished: threading.Event, fail: Fail) -> None:
    """Later stages hear nothing from the orchestrator until it goes: then they go too."""
    try:
        control.receive_header(order.idle_timeout_s)
    except ParetoPipeError as error:
        if not finished.is_set():
            fail(error)
