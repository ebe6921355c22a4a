"""Drive one run: launch a fresh stage on every worker, push batches through, read the clock.

In scope: one launch, three phases, the end-to-end times, and the proof that the outputs are right.
Out of scope: which runs there are, what becomes of the result, and anything that needs torch.

Every end-to-end time is a difference on this process's monotonic clock. Stages report durations on
theirs. No time stamp crosses a host.
"""

from __future__ import annotations

import math
import selectors
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from paretopipe_runtime import golden
from paretopipe_runtime.engines import ENGINES
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator.prepared import INPUT_BATCHES, INPUT_SEED, Prepared
from paretopipe_runtime.partition import stage_ranges
from paretopipe_runtime.plan import Plan, Run
from paretopipe_runtime.wire import handshake
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import FrameType
from paretopipe_runtime.worker.launch import HUB, Launch

PHASES = ("warmup", "latency", "throughput")
COMPUTE_ALLOWANCE_S = 120.0  # the longest one batch may compute before its stage counts as frozen
UNKNOWN_RATE_MBIT = 10.0


@dataclass(frozen=True)
class Deadlines:
    """How long things may take on this plan's link before a peer counts as frozen, in seconds."""

    io_s: float
    batch_s: float

    @classmethod
    def of(cls, plan: Plan, hop_bytes: list[int]) -> Deadlines:
        """5 s + 4 round trips + twice the transfer; a batch may have a window before it."""
        rate = plan.rate_mbit or UNKNOWN_RATE_MBIT
        fixed = 5 + 4 * plan.rtt_s
        io_s = fixed + 2 * max(hop_bytes) * 8e-6 / rate
        all_hops = sum(hop_bytes) * (2 if plan.hub else 1)
        batch_s = COMPUTE_ALLOWANCE_S + fixed + 2 * plan.window * all_hops * 8e-6 / rate
        return cls(io_s, batch_s)


def drive(plan: Plan, run: Run, prepared: Prepared, key: bytes, run_id: str) -> dict[str, Any]:
    """Measure `run` and return what was seen: times, reports of the stages, the outputs' proof.

    Raises
    ------
    ParetoPipeError
        Whatever went wrong, here or in a stage; nothing is left running on any worker.
    """
    deadlines = Deadlines.of(plan, prepared.hop_bytes(run.cuts))
    began = time.perf_counter()
    pipeline = _launch(plan, run, prepared, key, run_id, deadlines)
    try:
        launched = time.perf_counter()
        driver = _Driver(pipeline, prepared, deadlines, ENGINES[plan.engine].tolerance)
        phases: dict[str, Any] = {"warmup": driver.one_in_flight(run.warmup_batches)}
        warm = time.perf_counter()
        phases["latency"] = driver.one_in_flight(run.latency_batches)
        timed = time.perf_counter()
        phases["throughput"] = driver.saturated(run.throughput_batches, plan.window)
        saturated = time.perf_counter()
        reports = _finish(pipeline, deadlines)
        proof = driver.proof()
    finally:
        for channel in pipeline.channels:
            channel.close()
    ended = time.perf_counter()
    return {
        **phases,
        "reports": reports,
        "ready": pipeline.ready,
        "proof": proof,
        "phases_s": {
            "launch": launched - began,
            "warmup": warm - launched,
            "latency": timed - warm,
            "throughput": saturated - timed,
            "teardown": ended - saturated,
        },
        "wall_s": ended - began,
    }


@dataclass(frozen=True)
class _Pipeline:
    """The control connections of a run's processes, and what each stage said when ready.

    Requests go in at `entry`, predictions come out at `exit`: the first and the last stage, or the
    hub for both. `channels` has every process: the stages in order, then the hub.
    """

    entry: Channel
    exit: Channel
    channels: list[Channel]
    ready: list[dict[str, Any]]


def _launch(
    plan: Plan, run: Run, prepared: Prepared, key: bytes, run_id: str, deadlines: Deadlines
) -> _Pipeline:
    orders = _orders(plan, run, prepared, run_id, deadlines)
    channels: list[Channel] = []

    def start(order: Launch) -> dict[str, Any]:
        worker = plan.hub if order.is_hub else plan.workers[order.stage]
        assert worker is not None
        hello = {"role": "run", "run_id": run_id, "stage": order.stage}
        timeout = 10 + 4 * plan.rtt_s
        sock, _ = handshake.connect((worker.address, worker.port), key, hello, timeout=timeout)
        channel = Channel(sock, worker.host)
        channels.append(channel)
        channel.send_message(order.to_message(), timeout=timeout)
        return {**channel.receive_message(COMPUTE_ALLOWANCE_S), "_channel": channel}

    try:
        with ThreadPoolExecutor(len(orders)) as pool:
            futures = [pool.submit(start, order) for order in orders]
            try:
                ready = [future.result() for future in futures]
            except ParetoPipeError:
                for channel in channels:  # wakes the other threads, and stages that wait for a peer
                    channel.shut()
                raise
    except ParetoPipeError:
        for channel in channels:
            channel.close()
        raise
    ordered = [answer.pop("_channel") for answer in ready]
    entry = ordered[-1] if plan.hub else ordered[0]
    return _Pipeline(entry, ordered[-1], ordered, ready[: len(plan.workers)])


def _orders(
    plan: Plan, run: Run, prepared: Prepared, run_id: str, deadlines: Deadlines
) -> list[Launch]:
    ranges = stage_ranges(run.cuts, len(prepared.boundaries) - 1)
    following = [(w.host, w.address, w.port) for w in plan.workers]

    def order(stage: int, allocator: str, first: int, end: int) -> Launch:
        return Launch(
            run_id=run_id,
            stage=stage,
            stages=len(ranges),
            backend=plan.backend,
            engine=plan.engine,
            allocator=allocator,
            model=plan.model,
            classes=plan.classes,
            manifest=prepared.manifest,
            first=first,
            end=end,
            takes=prepared.boundaries[first],
            gives=prepared.boundaries[end],
            next_stage=following[stage + 1] if stage + 1 < len(ranges) else None,
            input_batches=INPUT_BATCHES,
            input_seed=INPUT_SEED,
            image_px=plan.image_px,
            io_timeout_s=deadlines.io_s,
            idle_timeout_s=deadlines.batch_s + 60,
        )

    orders = [
        order(stage, worker.allocator, first, end)
        for stage, ((first, end), worker) in enumerate(zip(ranges, plan.workers, strict=True))
    ]
    if plan.hub:  # it computes no block, and what it sends are the predictions
        orders.append(order(HUB, plan.hub.allocator, ranges[-1][1], ranges[-1][1]))
    return orders


def _finish(pipeline: _Pipeline, deadlines: Deadlines) -> list[dict[str, Any]]:
    pipeline.entry.send(FrameType.END, timeout=deadlines.io_s)
    last = pipeline.exit
    header = last.receive_header(deadlines.batch_s)
    if header.type is not FrameType.END:
        raise ParetoPipeError("E_ORDER", f"{last.peer}: {header.type.name} came, expected END")
    reports = [channel.receive_message(deadlines.io_s) for channel in pipeline.channels]
    return reports[: len(pipeline.ready)]


class _Driver:
    """Sends requests in, takes predictions out, and keeps the times."""

    def __init__(
        self, pipeline: _Pipeline, prepared: Prepared, deadlines: Deadlines, tolerance: float
    ) -> None:
        self._entry, self._exit = pipeline.entry, pipeline.exit
        self._prepared = prepared
        self._deadlines = deadlines
        self._tolerance = tolerance
        self._logits: list[np.ndarray] = []
        self._requested = 0
        self._selector = selectors.DefaultSelector()
        for channel in pipeline.channels:
            self._selector.register(channel, selectors.EVENT_READ, channel)

    def one_in_flight(self, batches: int) -> dict[str, Any]:
        """Each batch from its request to its prediction, alone in the pipeline."""
        times = []
        for _ in range(batches):
            start = time.perf_counter()
            self._request()
            self._receive()
            times.append(time.perf_counter() - start)
        return {"batch_s": times}

    def saturated(self, batches: int, window: int) -> dict[str, Any]:
        """`window` batches in flight; starts and completions in seconds from the first start."""
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

    def proof(self) -> dict[str, Any]:
        """Compare every prediction of the run with the unsplit model's."""
        worst = 0.0
        argmax_equal = finite = True
        for batch_id, logits in enumerate(self._logits):
            reference = self._prepared.reference[batch_id % INPUT_BATCHES]
            seen = golden.compare(logits, reference, self._tolerance)
            worst = max(worst, seen.max_rel_err)
            argmax_equal &= seen.argmax_equal
            finite &= seen.finite
        return {
            "max_rel_err": worst if math.isfinite(worst) else None,  # JSON has no infinity
            "argmax_equal": argmax_equal,
            "finite": finite,
            "batches_checked": len(self._logits),
            "payload_received": self._exit.payload_received,
        }

    def _request(self) -> None:
        self._entry.send(FrameType.REQUEST, batch_id=self._requested, timeout=self._deadlines.io_s)
        self._requested += 1

    def _receive(self) -> None:
        self._wait()
        header = self._exit.receive_header(self._deadlines.io_s)
        expected = self._prepared.boundaries[-1]
        expected.check(header, self._exit.peer)
        if header.batch_id != len(self._logits):
            raise ParetoPipeError(
                "E_ORDER",
                f"{self._exit.peer}: batch {header.batch_id} came, expected {len(self._logits)}",
            )
        logits = np.empty(expected.shape, expected.dtype)
        buffer = logits.data.cast("B")
        self._exit.receive_payload(header, buffer, self._deadlines.io_s)
        self._logits.append(logits)

    def _wait(self) -> None:
        """Wait for the exit; another process that speaks now has an error to tell."""
        events = self._selector.select(self._deadlines.batch_s)
        if not events:
            raise ParetoPipeError(
                "E_STALL",
                f"no prediction within {self._deadlines.batch_s:.0f} s — a worker is frozen or the "
                "link is dead; see `journalctl -u paretopipe-worker` there",
            )
        for key, _ in events:
            if key.data is not self._exit:
                key.data.receive_header(self._deadlines.io_s)  # raises what the stage reports
                raise ParetoPipeError("E_ORDER", f"{key.data.peer} spoke out of turn")
