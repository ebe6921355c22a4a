"""A pipeline of fresh stage processes: launch it, push batches through, check the outputs."""

from __future__ import annotations

import math
import selectors
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np

from paretopipe_runtime import golden
from paretopipe_runtime.contract.chain import Chain
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator.postmortem import Boots
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.connect import open_channel
from paretopipe_runtime.wire.frames import FrameType, Tensor, check_turn
from paretopipe_runtime.wire.keys import Keys
from paretopipe_runtime.worker.order import StageOrder

COMPUTE_ALLOWANCE_S = 120.0  # timeout for one batch's computation
UNKNOWN_RATE_MBIT = 10.0
CONNECT_S = 10.0  # to connect and authenticate, plus round trips


@dataclass(frozen=True)
class Deadlines:
    """Seconds until a silent peer counts as frozen."""

    io_s: float
    batch_s: float

    @classmethod
    def of(cls, chain: Chain, hop_bytes: list[int], window: int = 1) -> Deadlines:
        """Allow 5 s + 4 round trips + twice the transfer; a batch may wait behind a full window."""
        rate = min(network.rate_mbit or UNKNOWN_RATE_MBIT for network in chain.networks)
        fixed = 5 + 4 * chain.rtt_s
        # Transfers to replicas share their one sender's link, and TCP does not share it out evenly.
        beside = max(len(worker.each) for worker in chain.workers)
        io_s = fixed + 2 * beside**2 * max(hop_bytes) * 8e-6 / rate
        all_hops = sum(hop_bytes) * (2 if chain.hub else 1)
        batch_s = COMPUTE_ALLOWANCE_S + fixed + 2 * window * all_hops * 8e-6 / rate
        return cls(io_s, batch_s)


@dataclass(frozen=True)
class Expected:
    """Shape of the predictions, reference values per input batch, and relative tolerance.

    `codec_tolerance` is added where tensors go encoded: then predictions differ from the reference,
    but not from each other for the same input.
    """

    form: Tensor
    reference: tuple[np.ndarray, ...]
    tolerance: float
    codec_tolerance: float = 0.0


@dataclass(frozen=True)
class Pipeline:
    """Control connections of a run, and each host's ready message.

    `entries` and `exits` are the first and the last stage's, or both the hub's; of several hosts
    one after the other has its turn. `channels` has the stages in order, then the hub.
    """

    entries: list[Channel]
    exits: list[Channel]
    channels: list[Channel]
    ready: list[dict[str, Any]]


def launch(orders: list[StageOrder], chain: Chain, keys: Keys, boots: Boots) -> Pipeline:
    """Launch every order in a fresh process; note the hosts' boot ids in `boots`.

    Raises
    ------
    ParetoPipeError
        For any failed launch; then none is left running.
    """
    channels: list[Channel] = []
    abandoned = threading.Event()

    def start(order: StageOrder) -> dict[str, Any]:
        worker = chain.at(order.stage, order.replica)
        hello = {"role": "run", "run_id": order.run_id, "stage": order.stage}
        timeout = CONNECT_S + 4 * chain.rtt_s
        channel, agent = open_channel(
            *(worker.host, (worker.address, worker.port), keys, hello),
            transport=worker.transport,
            timeout=timeout,
            via=chain.via(worker),
        )
        channels.append(channel)
        boots.setdefault(worker.host, agent.get("boot_id"))
        if abandoned.is_set():  # while this one was connecting
            channel.shut()
        channel.send_message(order.to_message(), timeout=timeout)
        while not (answer := channel.receive_message(COMPUTE_ALLOWANCE_S)).get("ready"):
            if "ready" not in answer:  # a profile says False for every loaded block
                raise ParetoPipeError(
                    "E_ORDER",
                    f"{worker.host}: a message came that says nothing of being ready — do both "
                    "ends run the same version? playbooks/provision.yml installs it",
                )
        return {**answer, "_channel": channel}

    try:
        with ThreadPoolExecutor(len(orders)) as pool:
            futures = [pool.submit(start, order) for order in orders]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            try:
                for future in (future for future in futures if future in done):
                    future.result()
                ready = [future.result() for future in futures]
            except BaseException:  # a fault here, too, must not wait for the others
                abandoned.set()
                for channel in channels:  # wakes the other threads, and stages that wait for a peer
                    channel.shut()
                raise
    except BaseException:
        for channel in channels:
            channel.close()
        raise
    ordered = [answer.pop("_channel") for answer in ready]
    stages = [answer for answer, order in zip(ready, orders, strict=True) if not order.is_hub]
    if chain.hub:
        return Pipeline(ordered[-1:], ordered[-1:], ordered, stages)
    first, last = orders[0].replicas, orders[-1].replicas
    return Pipeline(ordered[:first], ordered[-last:], ordered, stages)


class Driver:
    def __init__(self, pipeline: Pipeline, expected: Expected, deadlines: Deadlines) -> None:
        self._entries, self._exits = pipeline.entries, pipeline.exits
        self._channels = pipeline.channels
        self.ready = pipeline.ready
        self._expected = expected
        self._deadlines = deadlines
        self._logits: list[np.ndarray] = []
        self._requested = 0
        self._selectors = [_selector(pipeline, turn) for turn in pipeline.exits]

    def one_in_flight(self, batches: int) -> dict[str, Any]:
        """Time each batch from request to prediction, alone in the pipeline."""
        times = []
        for _ in range(batches):
            start = time.perf_counter()
            self._request()
            self._receive()
            times.append(time.perf_counter() - start)
        return {"batch_s": times}

    def saturated(self, batches: int, window: int) -> dict[str, Any]:
        """Keep `window` batches in flight; return seconds since the first start."""
        starts: list[float] = []
        completions: list[float] = []
        zero = time.perf_counter()
        while len(completions) < batches:
            while len(starts) < batches and len(starts) - len(completions) < window:
                starts.append(time.perf_counter() - zero)
                self._request()
            self._receive()
            completions.append(time.perf_counter() - zero)
        return {"start_s": starts, "completion_s": completions, "window": window}

    def finish(self) -> list[dict[str, Any]]:
        """End the run; return the hosts' reports."""
        for entry in self._entries:
            entry.send(FrameType.END, timeout=self._deadlines.io_s)
        for turn in self._exits:
            header = turn.receive_header(self._deadlines.batch_s)
            if header.type is not FrameType.END:
                raise ParetoPipeError(
                    "E_ORDER", f"{turn.peer}: {header.type.name} came, expected END"
                )
        reports = [channel.receive_message(self._deadlines.io_s) for channel in self._channels]
        return reports[: len(self.ready)]

    def proof(self) -> dict[str, Any]:
        """Compare every prediction with the unsplit model's, encoded ones with each other, too."""
        worst = 0.0
        argmax_equal = finite = True
        references, tolerance = self._expected.reference, self._expected.tolerance
        for batch_id, logits in enumerate(self._logits):
            reference = references[batch_id % len(references)]
            seen = golden.compare(logits, reference, tolerance)
            worst = max(worst, seen.max_rel_err)
            argmax_equal &= seen.argmax_equal
            finite &= seen.finite
        lossy = self._expected.codec_tolerance > 0
        return {
            **(golden.agreement(self._logits, references) if lossy and finite else {}),
            "max_rel_err": worst if math.isfinite(worst) else None,  # JSON has no infinity
            "argmax_equal": argmax_equal,
            "finite": finite,
            "batches_checked": len(self._logits),
            "payload_received": sum(channel.payload_received for channel in self._exits),
            "cipher": self._exits[0].cipher,
        }

    def _request(self) -> None:
        entry = self._entries[self._requested % len(self._entries)]
        entry.send(FrameType.REQUEST, batch_id=self._requested, timeout=self._deadlines.io_s)
        self._requested += 1

    def _receive(self) -> None:
        expected = len(self._logits)
        turn = self._wait(expected % len(self._exits))
        header = turn.receive_header(self._deadlines.io_s)
        form = self._expected.form
        form.check(header, turn.peer)
        check_turn(header.batch_id, expected, turn.peer)
        logits = np.empty(form.shape, form.dtype)
        buffer = logits.data.cast("B")
        turn.receive_payload(header, buffer, self._deadlines.io_s)
        self._logits.append(logits)

    def _wait(self, place: int) -> Channel:
        """Wait for the last stage's host whose turn it is.

        Any process before it that speaks reports an error.
        """
        turn = self._exits[place]
        if turn.waiting():
            return turn
        events = self._selectors[place].select(self._deadlines.batch_s)
        if not events:
            raise ParetoPipeError(
                "E_STALL",
                f"no prediction within {self._deadlines.batch_s:.0f} s — a worker is frozen or the "
                "link is dead; see `journalctl -u paretopipe-worker` there",
            )
        for key, _ in events:
            if key.data is not turn:
                key.data.receive_header(self._deadlines.io_s)  # raises the stage's error
                raise ParetoPipeError("E_ORDER", f"{key.data.peer} spoke out of turn")
        return turn


def _selector(pipeline: Pipeline, turn: Channel) -> selectors.BaseSelector:
    """Watch an exit and the stages before; other exits may speak early, for turns of their own."""
    selector = selectors.DefaultSelector()
    for channel in pipeline.channels:
        if channel is turn or channel not in pipeline.exits:
            selector.register(channel, selectors.EVENT_READ, channel)
    return selector
