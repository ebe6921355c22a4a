"""What a run has to prove, one thing after the other: without it, it does not count."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.orchestrator.pipeline import Deadlines, Driver, Expected, Pipeline
from paretopipe_runtime.orchestrator.prepared import Prepared
from paretopipe_runtime.orchestrator.record import success
from paretopipe_runtime.orchestrator.runs import expand
from paretopipe_runtime.wire.channel import Channel
from paretopipe_runtime.wire.frames import FrameType, Tensor
from tests.made.plans import document

LOGITS = Tensor((8, 10), "float32", 320)
REFERENCE = tuple(np.random.default_rng(0).random((2, 8, 10), np.float32))
BATCHES = 5
PREPARED = Prepared(
    manifest={"blocks": [{"parameters": 1, "nbytes": 4}] * 21},
    weights_digest="w",
    boundaries=(LOGITS,) * 22,
    flops=(1,) * 21,
    reference=REFERENCE,
    reference_digest="r",
    input_digest="i",
)


def seen() -> dict[str, Any]:
    """What the orchestrator saw of a run in which all was well."""
    sizes = ("payload_sent", "payload_received")
    used = ("cpu_percent", "cpu_s", "baseline_rss_bytes", "peak_rss_bytes", "threads")
    report = {
        "device": "cpu",
        "batches": [(number, 0.001, 0.01) for number in range(BATCHES)],
        **dict.fromkeys(sizes, BATCHES * LOGITS.nbytes),
        **dict.fromkeys(used, 1),
    }
    return {
        "ready": [
            {"input_digest": "i", "load_s": 0.1, "host": {"boot_id": host}}
            for host in ("pi1", "pi2")
        ],
        "reports": [
            {**report, "host": {"boot_id": host, "throttled_live": "0x0"}}
            for host in ("pi1", "pi2")
        ],
        "proof": {
            **{"max_rel_err": 0.0, "argmax_equal": True, "finite": True, "cipher": None},
            **{"batches_checked": BATCHES, "payload_received": BATCHES * LOGITS.nbytes},
        },
        "warmup": {"batch_s": [0.05]},
        "latency": {"batch_s": [0.03, 0.03]},
        "throughput": {"start_s": [0.0, 0.0], "completion_s": [0.03, 0.05], "window": 4},
        "phases_s": {},
        "swapped": {},
        "wall_s": 0.2,
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({("proof", "finite"): False}, "non_finite"),
        ({("proof", "argmax_equal"): False}, "output_mismatch"),
        ({("proof", "max_rel_err"): 0.1}, "output_mismatch"),
        ({("proof", "max_rel_err"): None}, "output_mismatch"),
        ({("proof", "batches_checked"): BATCHES - 1}, "unchecked_batches"),
        ({("ready", 0, "input_digest"): "another"}, "input_mismatch"),
        ({("reports", 0, "payload_sent"): 320}, "bytes_mismatch"),
        (
            # Both ends agree, on something else than was planned.
            {("reports", 0, "payload_sent"): 320, ("reports", 1, "payload_received"): 320},
            "bytes_mismatch",
        ),
        ({("proof", "payload_received"): 320}, "bytes_mismatch"),
        ({("reports", 1, "host", "throttled_live"): "0x8"}, "throttled"),
        ({("reports", 0, "host", "swapped_in_pages"): 1}, "swapped"),
        ({("reports", 1, "host", "swapped_out_pages"): 1}, "swapped"),
        ({("reports", 1, "host", "swapped_out_pages"): 0}, ""),
        ({("swapped", "swapped_in_pages"): 1}, "swapped"),
        ({("reports", 1, "host", "boot_id"): "another"}, "node_rebooted"),
    ],
    ids=str,
)
def test_a_run_counts_with_every_proof_and_covariate_in_order(
    changes: dict[tuple[Any, ...], Any], reason: str
) -> None:
    counts = {"warmup_batches": 1, "latency_batches": 2, "throughput_batches": 2}
    plan = read_plan(document(splits=[[3]], **counts))
    run = expand(plan, PREPARED.hop_bytes)[0]
    found = seen()
    for (*path, last), value in changes.items():
        inner: Any = found
        for key in path:
            inner = inner[key]
        inner[last] = value
    status = success(plan, run, PREPARED, found)["status"]
    assert status == (f"invalid:{reason}" if reason else "ok")


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    left, right = socket.socketpair()
    channels = Channel(left, "pi2"), Channel(right, "orchestrator")
    yield channels
    for channel in channels:
        channel.close()


@pytest.mark.parametrize("wrong", [None, 0, 1, 3])
def test_every_batch_is_proven_and_not_the_last_alone(
    ends: tuple[Channel, Channel], wrong: int | None
) -> None:
    ours, theirs = ends

    def answer() -> None:
        for number in range(4):
            batch_id = theirs.receive_header(10).batch_id
            logits = REFERENCE[batch_id % 2] * (-1 if number == wrong else 1)
            form = {"dtype": LOGITS.dtype, "shape": LOGITS.shape}
            theirs.send(FrameType.TENSOR, logits.tobytes(), batch_id=batch_id, timeout=10, **form)  # type: ignore[arg-type]

    stage = threading.Thread(target=answer)
    stage.start()
    pipeline = Pipeline([ours], [ours], [ours], [])
    driver = Driver(pipeline, Expected(LOGITS, REFERENCE, 1e-4), Deadlines(10, 10))
    driver.one_in_flight(2)
    driver.saturated(2, window=2)
    stage.join(10)
    proof = driver.proof()
    assert proof["batches_checked"] == 4
    assert proof["argmax_equal"] is (wrong is None)
    assert (proof["max_rel_err"] > 1e-4) is (wrong is not None)


def test_a_transfer_gets_twice_the_seconds_that_its_bits_take() -> None:
    netem = {"delay": "200ms", "rate": "5mbit", "direction": "egress"}
    plan = read_plan(document(scenario={"name": "slow", "netem": netem, "measured": None}))
    found = Deadlines.of(plan.chain, [5_000_000, 320], plan.phases.window)
    assert found.io_s == pytest.approx(5 + 4 * 0.2 + 2 * 8)  # 40 Mbit at 5 Mbit/s
    assert found.batch_s == pytest.approx(120 + 5 + 4 * 0.2 + 2 * plan.phases.window * 8, rel=1e-3)
