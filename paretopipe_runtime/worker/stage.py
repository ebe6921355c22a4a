"""One stage of one run: load the blocks, connect, compute, report."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import torch

from paretopipe_runtime import engines, weights
from paretopipe_runtime.contract.codecs import NONE
from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.contract.weights import WeightsManifest
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.connect import accept_channel
from paretopipe_runtime.wire.frames import Tensor
from paretopipe_runtime.worker import allocator, noise
from paretopipe_runtime.worker.backends import backend
from paretopipe_runtime.worker.backends.backend import Context, Fail
from paretopipe_runtime.worker.coding import Coding
from paretopipe_runtime.worker.devices.device import Device, open_device
from paretopipe_runtime.worker.node import Node
from paretopipe_runtime.worker.order import StageOrder
from paretopipe_runtime.worker.profile import Compute, Profile
from paretopipe_runtime.worker.usage.telemetry import Telemetry

ORDER_TIMEOUT_S = 10.0
OUT_OF_MEMORY = "out of memory — a split that leaves less here, or a smaller -e batch=…, may fit"


def main(
    node: Node,
    control_socket: socket.socket,
    links: socket.socket,
    certificate: str | None = None,
) -> None:
    """Serve one run on an authenticated control connection.

    The agent passes the previous stage's connection over `links`; `certificate` is the
    orchestrator's fingerprint, with TLS.
    """
    control = accept_channel(control_socket, "orchestrator", certificate, node.keys.identity)

    def fail(error: ParetoPipeError) -> NoReturn:
        """Tell the orchestrator and go: a stage has nothing worth saving."""
        print(f"{node.name}: {error}", file=sys.stderr, flush=True)
        with contextlib.suppress(ParetoPipeError):  # the orchestrator may be gone too
            control.send_error(ParetoPipeError(error.code, f"{node.name}: {error.message}"))
        os._exit(1)

    try:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        order = StageOrder.from_message(control.receive_message(ORDER_TIMEOUT_S))
        if (order.transport == "tls") != (control.cipher is not None):
            raise ParetoPipeError(
                "E_TRANSPORT",
                f"the plan says {order.transport}, the orchestrator's connection is not — do both "
                "ends run the same version? playbooks/provision.yml installs it",
            )
        if order.noise_s:
            measured = {"noise": noise.measure(order.noise_s)}
            control.send_message(measured, timeout=order.io_timeout_s)
        else:
            _run(node, order, control, links, fail)
    except ParetoPipeError as error:
        fail(error)
    except torch.cuda.OutOfMemoryError:
        fail(
            ParetoPipeError(
                "E_MEMORY",
                "the GPU is out of memory — end what else uses it (`nvidia-smi` tells), or choose "
                "a smaller -e batch=…",
            )
        )
    except MemoryError:
        fail(ParetoPipeError("E_MEMORY", OUT_OF_MEMORY))
    except Exception as error:  # a worker must answer, whatever torch raises
        sys.excepthook(type(error), error, error.__traceback__)
        if "can't allocate memory" in str(error):  # how PyTorch says it
            fail(ParetoPipeError("E_MEMORY", OUT_OF_MEMORY))
        fail(ParetoPipeError("E_STAGE", f"{type(error).__name__}: {error}"))


def _run(node: Node, order: StageOrder, control: Channel, links: socket.socket, fail: Fail) -> None:
    allocator.apply(order.allocator)
    device = open_device(order.device)
    telemetry = Telemetry()
    layout = ENGINES[order.engine].layout
    context = Context(node, order, control, links, layout, fail, device.pinned)
    finished = threading.Event()
    if not order.is_entry:
        threading.Thread(target=_watch, args=(control, order, finished, fail), daemon=True).start()
    with ThreadPoolExecutor(1) as connecting:  # some round trips, while the weights load
        connected = connecting.submit(backend.connect, context)
        manifest = None
        if order.first < order.end:
            manifest = WeightsManifest.from_json(order.manifest)
            weights.verify_stage(manifest, node.store, order.first, order.end)
        began = time.perf_counter()
        loaded = _computation(node, order, manifest, control, device)
        compute = device.from_host(loaded, order.gives, layout)
        coding = Coding(order, compute, layout) if order.codec != NONE else None
        load_s = time.perf_counter() - began
        ends = connected.result()
    control.send_message(
        {
            "ready": True,
            "input_digest": ends.input_digest,
            "load_s": load_s,
            "host": {**telemetry.host, **device.facts},
        },
        timeout=order.io_timeout_s,
    )
    telemetry.start()
    device.start()
    batches: list[tuple[int, float | None, float]] = []
    with torch.inference_mode():
        for batch in ends.source:
            start = time.perf_counter()
            output = (coding or compute)(batch.tensor)
            compute_s = time.perf_counter() - start
            ends.sink.send(batch, output)
            batches.append((batch.batch_id, batch.receive_s, compute_s))
            del batch, output  # or they would stay in memory while the next one is computed
    usage = telemetry.stop()
    ends.sink.finish()
    finished.set()
    control.send_message(
        {
            "batches": batches,
            "device": device.name,
            "payload_sent": ends.sink.payload_sent,
            "payload_received": ends.source.payload_received,
            **({"cipher": ends.cipher} if ends.cipher else {}),
            **usage,
            **device.report(),
            **(loaded.report() if isinstance(loaded, Profile) else {}),
            **(coding.report() if coding else {}),
        },
        timeout=order.io_timeout_s,
    )


def _computation(
    node: Node,
    order: StageOrder,
    manifest: WeightsManifest | None,
    control: Channel,
    device: Device,
) -> Compute:
    """Load the stage's computation; without a manifest it has no blocks."""
    if manifest is None:
        return functools.partial(_hand_on, order.gives.shape)

    tell = functools.partial(control.send_message, {"ready": False}, timeout=order.io_timeout_s)
    alone = order.stages == 1 and order.backend == "socket"

    def load(first: int, end: int, takes: Tensor) -> Compute:
        stage = engines.StageToLoad(
            model=order.model,
            classes=order.classes,
            manifest=manifest,
            store=node.store,
            first=first,
            end=end,
            takes=takes,
            cache=node.engine_cache,
            wait=tell if alone else None,
        )
        return device.place(engines.load(order.engine, stage))

    if order.profile_batches:
        if ENGINES[order.engine].built:
            load(order.first, order.end, order.takes)  # in the middle there is no time to build it
        return Profile(order, load, tell, device.synchronize)
    return load(order.first, order.end, order.takes)


def _hand_on(shape: tuple[int, ...], tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor, or a copy of its head, for hubs and empty stages."""
    if tensor.shape == shape:
        return tensor
    return tensor.flatten()[: math.prod(shape)].reshape(shape).clone()


def _watch(control: Channel, order: StageOrder, finished: threading.Event, fail: Fail) -> None:
    """End the stage when the orchestrator is gone, where no requests tell."""
    try:
        control.receive_header(order.idle_timeout_s)
    except ParetoPipeError as error:
        if not finished.is_set():
            fail(error)
