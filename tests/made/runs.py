"""Seeded records of runs in the real format, never a measurement.

Hosts have the processor "synthetic", so that a page cannot be mistaken for a result.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from paretopipe_runtime.contract.codecs import CODECS
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.models import MODELS

NAMES = [f"features.{k}" for k in range(19)] + ["pool", "classifier"]
CHANNELS = [32, 16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320, 1280, 1280]
SIDES = [112, 112, 56, 56, 28, 28, 28, *[14] * 7, *[7] * 5, 1]
PI_S = [0.15, 0.42, 0.40, *[0.061] * 14, 0.03, 0.02, 0.003, 0.012]
GPU_TIMES_FASTER = 60
WAN = {"delay": "200ms", "rate": "5mbit", "jitter": "0ms", "loss": "0%", "direction": "egress"}
NETWORKS: dict[str, tuple[dict[str, str] | None, float, float]] = {
    "baseline": (None, 0.2, 930.0),
    "wan": (WAN, 200.3, 4.8),
}


@dataclass(frozen=True)
class Blocks:
    """A model's blocks, with times on a Pi in seconds."""

    names: list[str]
    channels: list[int]  # after each block but the last
    sides: list[int]
    pi_s: list[float]

    @classmethod
    def of(cls, model: str) -> Blocks:
        """Return MobileNetV2's blocks, or as many like them as the model has."""
        if model == "mobilenetv2":
            return cls(NAMES, CHANNELS, SIDES, PI_S)
        count = MODELS[model].blocks if model in MODELS else len(NAMES)
        like = [k * len(NAMES) // count for k in range(count)]
        return cls(
            [f"block.{k}" for k in range(count)],
            [CHANNELS[min(k, 19)] for k in like[:-1]],
            [SIDES[min(k, 19)] for k in like[:-1]],
            [PI_S[k] * len(NAMES) / count for k in like],
        )

    def seconds(self, host: str) -> list[float]:
        """Return each block's seconds per batch."""
        faster = GPU_TIMES_FASTER if host == "server" else 1
        return [seconds / faster for seconds in self.pi_s]

    def bytes_at(self, cut: int, batch: int, image_px: int) -> tuple[list[int], int]:
        """Return shape and bytes of the tensor at a cut; cut 0 is the input."""
        channels, side = (self.channels[cut - 1], self.sides[cut - 1]) if cut else (3, image_px)
        return [batch, channels, side, side], 4 * batch * channels * side * side


def run(
    source: random.Random,
    plan: Record,
    cuts: Sequence[int],
    repeat: int,
    order: int,
    extra: Record | None = None,
) -> Record:
    """Return a valid run; `extra` are factors of some runs only."""
    hosts = [worker["host"] for worker in plan["workers"]][: len(cuts) + 1]
    measured, batch = plan["scenario"]["measured"], plan["batch_size"]
    blocks = Blocks.of(plan["model"])
    edges = [0, *cuts, len(blocks.names)]
    drift = source.lognormvariate(0, 0.008)
    stages, hops, slowest, network = [], [], 0.0, 0.03
    for index, host in enumerate(hosts):
        first, end = edges[index], edges[index + 1]
        seconds = sum(blocks.seconds(host)[first:end]) * drift + 0.002
        stages.append(stage(source, index + 1, host, first, end, seconds, blocks.names))
        slowest = max(slowest, seconds)
        if index < len(hosts) - 1:
            shape, size = blocks.bytes_at(end, batch, plan["image_px"])
            if codec := (extra or {}).get("codec"):
                size = CODECS[codec].nbytes(shape)
            _, rtt, rate = NETWORKS["baseline"]  # of later hops, which no scenario shapes
            if not index:
                rtt, rate = measured["rtt_ms"], measured["rate_mbit"]
            wire = size * 8 / rate / 1e6
            network += rtt / 1e3 / 2 + wire
            slowest = max(slowest, wire)
            hops.append(
                {
                    **{"from": host, "to": hosts[index + 1], "dtype": "float32"},
                    **{"shape": shape, "bytes_per_batch": size},
                    **{f"bytes_{kind}": 23 * size for kind in ("planned", "sent", "received")},
                    "receive_s": {"latency": jitter(source, wire, 5)},
                }
            )
    _as_planned(plan, stages, hops)
    hops.append({"from": hosts[-1], "to": "server", "bytes_per_batch": 40 * batch})
    if plan.get("transport") == "tls":
        hops = [{**hop, "cipher": "TLS_CHACHA20_POLY1305_SHA256"} for hop in hops]
    waits = jitter(source, network, 5)
    compute = zip(*(stage["compute_s"]["latency"] for stage in stages), strict=True)
    ends = [wait + sum(parts) for wait, parts in zip(waits, compute, strict=True)]
    rate = batch / slowest * source.lognormvariate(0, 0.006)
    planned = any("device" in worker for worker in plan["workers"])
    seconds_in = order * 9
    return {
        **{"schema_version": 1, "kind": "run", "attempt": 1, "status": "ok", "message": ""},
        "run_key": f"{source.getrandbits(64):016x}",
        "started_at": f"2000-01-01T{10 + seconds_in // 3600:02d}:"
        f"{seconds_in // 60 % 60:02d}:{seconds_in % 60:02d}Z",
        "cell_id": plan["cell_id"],
        "factors": _factors(plan, cuts, repeat, extra or {}),
        **(
            {"security": security(plan["backend"], plan.get("transport", "plain"))}
            if any("allocator" in worker for worker in plan["workers"])
            else {}
        ),
        "order": order,
        "latency": {"batch_s": ends, "median_s": median(ends)},
        "throughput": {
            "img_s": rate / 1.04,
            "sustained_img_s": rate,
            "window": plan["window"],
        },
        "stages": stages,
        "hops": hops,
        "network_s": {"latency": waits},
        "proof": {
            **{
                "max_rel_err": source.uniform(0, 2e-7),
                "argmax_equal": "codec" not in (extra or {}),
                "tolerance": 1e-5,
            },
            "batches_checked": 23,
        },
        "wall_s": 8.0,
        "network": {
            "asked": plan["scenario"]["netem"],
            "measured": {key: value * drift for key, value in measured.items()},
        },
        "hosts": {
            host: facts(host) | (GPU_FACTS if planned and host == "server" else {})
            for host in dict.fromkeys([*hosts, "server"])
        },
    }


def _as_planned(plan: Record, stages: list[Record], hops: list[Record]) -> None:
    """Add what depends on allocators, devices and the backend."""
    allocators = [worker["allocator"] for worker in plan["workers"] if "allocator" in worker]
    for part, allocator in zip(stages, allocators, strict=False):
        part |= {"allocator": allocator, "load_s": 0.05, "baseline_rss_bytes": 240 * 2**20}
        part |= {"partition_bytes": 2**20 * (part["end_block"] - part["first_block"])}
        part |= {"peak_rss_bytes": (300 if allocator == "default" else 360) * 2**20}
    if any("device" in worker for worker in plan["workers"]):
        for part, worker in zip(stages, plan["workers"], strict=False):
            device = worker.get("device", "cpu")
            part |= gpu(device) if device != "cpu" else {"device": "cpu"}
    if plan["backend"].startswith("rpc"):
        for hop in hops:  # RPC has no arrival time
            hop["receive_s"] = {"latency": []}
            hop |= {"via": "server"} if plan["backend"] == "rpc_hub" else {}


def _factors(plan: Record, cuts: Sequence[int], repeat: int, extra: Record) -> Record:
    named = ("model", "classes", "image_px", "batch_size", "backend", "engine", "pairing")
    sizes = ("window", "warmup_batches", "latency_batches", "throughput_batches", "weights_seed")
    workers = plan["workers"][: len(cuts) + 1]
    allocators = [worker["allocator"] for worker in plan["workers"] if "allocator" in worker]
    planned = any("device" in worker for worker in plan["workers"])
    return {
        **{key: plan[key] for key in (*named, *sizes)},
        **{"scenario": plan["scenario"]["name"], "cuts": list(cuts), "input": "resident"},
        **{"split": "P" + "-".join(map(str, cuts)), "repeat": repeat, **extra},
        **{"hosts": [worker["host"] for worker in workers], "netem": plan["scenario"]["netem"]},
        **({"allocators": allocators} if allocators else {}),
        **({"devices": [w.get("device", "cpu") for w in workers]} if planned else {}),
        **({"hub": "server"} if plan["backend"] == "rpc_hub" else {}),
        **{key: plan[key] for key in ("emulation", "transport") if key in plan},
    }


def security(backend: str, transport: str = "plain") -> str:
    return {"plain": "hmac", "tls": "tls"}[transport] if backend == "socket" else "rpc-insecure"


def stage(
    source: random.Random,
    index: int,
    host: str,
    first: int,
    end: int,
    seconds: float,
    names: Sequence[str],
) -> Record:
    return {
        **{"index": index, "host": host, "first_block": first, "end_block": end},
        "block_names": [*names[first:end]],
        "compute_s": {"latency": jitter(source, seconds, 5)},
        "cpu_percent": min(390.0, 40 + 300 * seconds),
        "peak_rss_bytes": 180_000_000 + 4_000_000 * (end - first),
        **{"threads": 4, "device": "cuda" if host == "server" else "cpu"},
        **({"gpu_percent": 22.0} if host == "server" else {}),
    }


GPU_FACTS = {
    **{"gpu": "Invented GPU (not measured)", "gpu_memory_bytes": 24 * 2**30, "tf32": "off"},
    **{"gpu_driver": "synthetic", "cuda": "12.8", "cudnn": 91002, "cudnn_benchmark": "off"},
}


def gpu(device: str) -> Record:
    """Return a GPU stage's further fields."""
    return {
        **{"device": device, "gpu_percent": 22.0, "gpu_samples": 40, "gpu_others": 1},
        **{"gpu_used_bytes": 512 * 2**20, "gpu_others_bytes": 2**20},
        **{"gpu_copy_in_s": {"latency": [0.002] * 5}, "gpu_kernels_s": {"latency": [0.01] * 5}},
        **{"gpu_copy_out_s": {"latency": [0.0005] * 5}},
    }


def facts(host: str) -> Record:
    return {
        **{"cpu_model": "synthetic (not measured)", "cpu_count": 4, "memory_bytes": 4 * 2**30},
        **{"machine": "x86_64" if host == "server" else "aarch64", "os": "synthetic"},
        **{"python": "3.11.2", "torch": "2.9.1", "runtime": "0.1.0+synthetic000"},
        **{"memory_percent": 31.5, "cpu_percent": 64.0},
        **{"kernel": "synthetic", "governor": "performance", "congestion_control": "cubic"},
        **{
            "libc": "glibc 2.36",
            "slow_start_after_idle": "0",
            "temperature_c": None,
            "throttled": None,
        },
    }


def jitter(source: random.Random, seconds: float, times: int) -> list[float]:
    return [seconds * source.lognormvariate(0, 0.006) for _ in range(times)]


def bare(record: Record, status: str, message: str) -> Record:
    """Return a run's record without measurements."""
    keys = ("schema_version", "kind", "run_key", "attempt", "started_at", "cell_id", "factors")
    return {**{key: record[key] for key in keys}, "status": status, "message": message}
