"""Plans, and of a run's record what the orchestrator reads."""

from __future__ import annotations

from typing import Any

from paretopipe_runtime.contract.splits import Cuts


def document(**changes: Any) -> dict[str, Any]:
    """Return the plan of a cell, as planning writes it."""
    plan = {
        "schema_version": 1,
        "cell_id": "mobilenetv2.socket.pi_to_pi.baseline",
        "model": "mobilenetv2",
        "classes": 10,
        "image_px": 224,
        "batch_size": 8,
        "backend": "socket",
        "engine": "eager",
        "pairing": "pi_to_pi",
        "scenario": {"name": "baseline", "netem": None, "measured": None},
        "workers": [
            {"host": "pi1", "address": "192.0.2.11", "port": 47470},
            {"host": "pi2", "address": "192.0.2.12", "port": 47470},
        ],
        "splits": "all",
        "repeats": 5,
        "seed": 0,
        "warmup_batches": 2,
        "latency_batches": 5,
        "throughput_batches": 16,
        "window": 4,
        "weights_seed": 0,
        "provenance": {},
    }
    return {**plan, **changes}


def hops(cuts: Cuts) -> list[int]:
    """Return the bytes of a batch on each hop."""
    return [1000] * len(cuts) + [320]


def row(
    key: str,
    status: str = "ok",
    attempt: int = 1,
    latency_s: float = 1.0,
    img_s: float = 1.0,
    **more: Any,
) -> dict[str, Any]:
    """Return a run's record as far as the orchestrator reads it."""
    return {
        **{"kind": "run", "run_key": key, "attempt": attempt, "block_pass": 1},
        **{"status": status, "message": "", "wall_s": 0.1},
        "latency": {"median_s": latency_s},
        "throughput": {"img_s": img_s},
        **more,
    }
