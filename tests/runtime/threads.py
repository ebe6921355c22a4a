"""Stages in threads of the test's own process: the real code, with a device that a test chooses."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from torch.overrides import TorchFunctionMode

from paretopipe_runtime.contract.chain import Chain
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator import drive as driving
from paretopipe_runtime.orchestrator.pipeline import Pipeline
from paretopipe_runtime.orchestrator.postmortem import Boots
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.keys import Keys
from paretopipe_runtime.worker import stage
from paretopipe_runtime.worker.backends import socket as socket_backend
from paretopipe_runtime.worker.devices.cuda import Cuda
from paretopipe_runtime.worker.node import Node
from paretopipe_runtime.worker.order import StageOrder
from tests.wire.pairs import tcp_pair

Log = list[str]


class FakeCuda:
    """Stands for ``torch.cuda`` on a host without a GPU: says when it is called, takes its time.

    Every event is a second after the one recorded before it.
    """

    WAIT_S = 0.02

    def __init__(self, log: Log) -> None:
        self.log = log
        self.clock = 0

    def Event(self, *, enable_timing: bool = False, blocking: bool = False) -> FakeEvent:
        return FakeEvent(self, enable_timing, blocking)

    def max_memory_allocated(self, _device: torch.device) -> int:
        return 4096


class FakeEvent:
    """A point on the fake GPU's time line."""

    def __init__(self, api: FakeCuda, timed: bool, blocking: bool) -> None:
        self._api = api
        self._timed = timed
        self._blocking = blocking
        self.at = 0

    def record(self) -> None:
        self._api.clock += self._timed
        self.at = self._api.clock

    def synchronize(self) -> None:
        assert self._blocking, "a core would wait busily"
        assert self.at == self._api.clock, "what came after this event may not have happened"
        threading.Event().wait(self._api.WAIT_S)
        self._api.log.append("synchronize")

    def elapsed_time(self, end: FakeEvent) -> float:
        assert self._timed
        assert self._api.log[-1] == "synchronize", "the events may not have happened yet"
        return 1000.0 * (end.at - self.at)  # as CUDA: in milliseconds


class Copies(TorchFunctionMode):
    """Notes copies between host and device, those that do not wait for the other side."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.to and kwargs.get("non_blocking"):
            self._log.append("copy in")
        if func is torch.Tensor.copy_ and kwargs.get("non_blocking"):
            self._log.append("copy out")
        return func(*args, **kwargs)


class LoggedCuda(Cuda):
    """The code for a GPU, working on the processor through the fake."""

    def __init__(self, log: Log, watch: Any = None) -> None:
        facts = {"gpu": "Fake GPU", "cuda": "0.0", "tf32": "off"}
        cpu = torch.device("cpu")
        super().__init__("cuda", cpu, facts, watch, open_s=0.5, api=FakeCuda(log))
        self._log = log

    def place(self, compute: Any) -> Any:
        placed = super().place(compute)
        placed.register_forward_hook(lambda *_: self._log.append("kernels"))  # type: ignore[attr-defined]
        return placed


@contextlib.contextmanager
def in_threads(folder: Path, devices: dict[str, Callable[[Log], Any]]) -> Iterator[dict[int, Log]]:
    """Let runs have their stages in threads here; yield what each stage's device was told.

    Parameters
    ----------
    devices : dict
        By the name that a plan calls it, what makes the device of a stage.
    """
    logs: dict[int, Log] = {}
    mine = threading.local()
    links: dict[int, tuple[socket.socket, socket.socket]] = {}
    threads: list[threading.Thread] = []
    cleanup = contextlib.ExitStack()

    def pair() -> tuple[socket.socket, socket.socket]:
        one, other = tcp_pair()
        cleanup.enter_context(one)
        cleanup.enter_context(other)
        return one, other

    def launch(orders: list[StageOrder], chain: Chain, _keys: Keys, _boots: Boots) -> Pipeline:
        for order in orders[1:]:
            links[order.stage] = pair()
        channels = []
        for order in orders:
            ours, theirs = pair()
            channels.append(Channel(ours, chain.at(order.stage).host))
            logs[order.stage] = log = []
            threads.append(threading.Thread(target=run, args=(order, theirs, log), daemon=True))
            threads[-1].start()
        ready = []
        for channel in channels:
            answer = channel.receive_message(60)
            while not answer["ready"]:
                answer = channel.receive_message(60)
            ready.append(answer)
        return Pipeline([channels[0]], [channels[-1]], channels, ready)

    def run(order: StageOrder, control: socket.socket, log: Log) -> None:
        mine.log = log
        node = Node(f"host{order.stage}", "127.0.0.1", Keys(b""), folder)
        channel = Channel(control, "orchestrator")

        def fail(error: ParetoPipeError) -> NoReturn:
            with contextlib.suppress(ParetoPipeError):
                channel.send_error(error)
            raise SystemExit

        with Copies(log), socket.socket() as nothing:
            try:
                stage._run(node, order, channel, nothing, fail)
            except ParetoPipeError as error:
                fail(error)
            except Exception as error:
                fail(ParetoPipeError("E_STAGE", f"{type(error).__name__}: {error}"))

    real_send = socket_backend.TensorSink.send

    def send(sink: Any, batch: Any, output: torch.Tensor) -> None:
        mine.log.append("send")
        real_send(sink, batch, output)

    def links_to_next(_node: Node, order: StageOrder) -> list[Channel]:
        return [Channel(links[order.stage + 1][0], "next") for _ in order.onward]

    def links_from_previous(
        _links: socket.socket, order: StageOrder, _identity: None
    ) -> list[Channel]:
        return [Channel(links[order.stage][1], "previous")]

    with cleanup, pytest.MonkeyPatch.context() as patch:
        patch.setattr(driving, "launch", launch)
        patch.setattr(stage, "open_device", lambda name: devices[name](mine.log))
        patch.setattr(socket_backend.TensorSink, "send", send)
        patch.setattr(socket_backend, "links_to_next", links_to_next)
        patch.setattr(socket_backend, "links_from_previous", links_from_previous)
        yield logs
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
