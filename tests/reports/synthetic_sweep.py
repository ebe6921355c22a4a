"""Invented records for testing the report: seeded, in the real format, never a measurement.

Every host says "synthetic" where a real one names its processor, so that a page made from
these records cannot be mistaken for a result.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from reports.data.records import Record, checksum

NAMES = [f"features.{k}" for k in range(19)] + ["pool", "classifier"]
CHANNELS = [32, 16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320, 1280, 1280]
SIDES = [112, 112, 56, 56, 28, 28, 28, *[14] * 7, *[7] * 5, 1]
PI_S = [0.15, 0.42, 0.40, *[0.061] * 14, 0.03, 0.02, 0.003, 0.012]
GPU_S = [seconds / 60 for seconds in PI_S]
WAN = {"delay": "200ms", "rate": "5mbit", "jitter": "0ms", "loss": "0%", "direction": "egress"}
NETWORKS: dict[str, tuple[dict[str, str] | None, float, float]] = {
    "baseline": (None, 0.2, 930.0),
    "wan": (WAN, 200.3, 4.8),
}
PAIRINGS = {"pi_to_pi": ["pi1", "pi2"], "pi_to_gpu": ["pi1", "server"]}


def write(
    folder: Path, seed: int = 0, repeats: int = 5, flaws: bool = True, **plan: Any
) -> list[Path]:
    """Write two pairings under two networks, 20 splits of MobileNetV2 each; return the files."""
    source = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for pairing, workers in PAIRINGS.items():
        for scenario in NETWORKS:
            lines = [*cell(source, pairing, workers, scenario, repeats, **plan)]
            if flaws and (pairing, scenario) == ("pi_to_gpu", "wan"):
                lines = [line for line in lines if line.get("factors", {}).get("cuts") != [20]]
            if flaws and (pairing, scenario) == ("pi_to_pi", "wan"):
                spoil(lines)
            paths.append(write_cell(folder, lines))
    return paths


# Backend, engine and allocators of each cell; what its latency and compute are of the plainest's.
KINDS: dict[tuple[str, str, tuple[str, str]], tuple[float, float]] = {
    ("socket", "eager", ("tuned", "tuned")): (1.0, 1.0),
    ("rpc", "eager", ("tuned", "tuned")): (1.1, 1.0),
    ("rpc_hub", "eager", ("tuned", "tuned")): (1.5, 1.0),
    ("socket", "onnxruntime", ("tuned", "tuned")): (0.7, 0.5),
    ("socket", "eager", ("default", "default")): (1.2, 1.25),
}


def write_kinds(
    folder: Path,
    splits: Sequence[Sequence[int]] = ((3,), (9,), (17,)),
    kinds: Sequence[tuple[str, str, tuple[str, str]]] = tuple(KINDS),
    repeats: int = 5,
) -> list[Path]:
    """Write cells that differ in backend, engine or allocators only, with known ratios.

    The same seed for each, so that a ratio of medians is exactly the one of `KINDS`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind in kinds:
        backend, engine, allocators = kind
        lines = [
            *cell(
                random.Random(7),
                splits=splits,
                repeats=repeats,
                backend=backend,
                engine=engine,
                allocators=allocators,
            )
        ]
        slower, dearer = KINDS[kind]
        for line in lines[1:]:
            line["latency"]["median_s"] *= slower
            line["throughput"]["img_s"] /= slower
            line["throughput"]["steady_img_s"] /= slower
            for part in line["stages"]:
                times = part["compute_s"]["latency"]
                part["compute_s"]["latency"] = [seconds * dearer for seconds in times]
            line["proof"] |= {"tolerance": 2e-3, "max_rel_err": 4e-5} if dearer == 0.5 else {}
        paths.append(write_cell(folder, lines))
    return paths


def write_cell(folder: Path, lines: Sequence[Record]) -> Path:
    """Write sealed records as one cell file."""
    path = folder / f"{lines[0]['plan']['cell_id']}.jsonl"
    text = "".join(f"{json.dumps(seal(line), ensure_ascii=False)}\n" for line in lines)
    path.write_text(text, encoding="utf-8")
    return path


def seal(record: Record) -> Record:
    """Return the record with its checksum."""
    return {**record, "crc32": checksum(record)}


def cell(
    source: random.Random,
    pairing: str = "pi_to_pi",
    workers: Sequence[str] = ("pi1", "pi2"),
    scenario: str = "baseline",
    repeats: int = 5,
    splits: Sequence[Sequence[int]] | None = None,
    backend: str = "socket",
    engine: str = "eager",
    allocators: Sequence[str] = (),
    **plan: Any,
) -> Iterator[Record]:
    """Yield a plan line and its runs, in randomised blocks as the sweep runs them.

    Without `allocators` the records are like those of the first ParetoPipe, which had none.
    """
    asked, rtt, rate = NETWORKS[scenario]
    names = ["mobilenetv2", backend, pairing, scenario]
    names += [engine] if engine != "eager" else []
    names += ["default_malloc"] if "default" in allocators else []
    whole = {
        "schema_version": 1,
        "cell_id": ".".join(names),
        **{"model": "mobilenetv2", "classes": 10, "image_px": 224, "batch_size": 8},
        **{"backend": backend, "engine": engine, "pairing": pairing},
        "scenario": {
            "name": scenario,
            "netem": asked,
            "measured": {"rtt_ms": rtt, "rate_mbit": rate},
        },
        "workers": [
            {"host": host, "address": "192.0.2.1", "port": 47470}
            | ({"allocator": allocators[index]} if allocators else {})
            for index, host in enumerate(workers)
        ],
        "splits": [list(cuts) for cuts in splits] if splits else "all",
        **{"repeats": repeats, "seed": 0, "warmup_batches": 2, "latency_batches": 5},
        **{"throughput_batches": 16, "window": 4, "weights_seed": 0},
        "provenance": {
            "commit": "synthetic0000",
            "dirty": True,
            "options": {"scenarios": "baseline,wan", "pairings": "pi_to_pi,pi_to_gpu"},
            "controller": {"ansible": "synthetic", "python": "synthetic"},
        },
        **plan,
    }
    yield {"schema_version": 1, "kind": "plan", "plan": whole}
    order = 0
    for repeat in range(1, repeats + 1):
        block = [list(cuts) for cuts in splits] if splits else [[k] for k in range(1, 21)]
        source.shuffle(block)
        for cuts in block:
            order += 1
            yield run(source, whole, cuts, repeat, order)


def run(
    source: random.Random, plan: Record, cuts: Sequence[int], repeat: int, order: int
) -> Record:
    """Return one invented valid run."""
    hosts = [worker["host"] for worker in plan["workers"]]
    measured, batch = plan["scenario"]["measured"], plan["batch_size"]
    edges = [0, *cuts, len(NAMES)]
    drift = source.lognormvariate(0, 0.008)
    stages, hops, slowest, network = [], [], 0.0, 0.03
    for index, host in enumerate(hosts):
        first, end = edges[index], edges[index + 1]
        seconds = sum((GPU_S if host == "server" else PI_S)[first:end]) * drift + 0.002
        stages.append(stage(source, index + 1, host, first, end, seconds))
        slowest = max(slowest, seconds)
        if index < len(hosts) - 1:
            channels, side = CHANNELS[end - 1], SIDES[end - 1]
            size = 4 * batch * channels * side * side
            wire = size * 8 / measured["rate_mbit"] / 1e6
            network += measured["rtt_ms"] / 1e3 / 2 + wire
            slowest = max(slowest, wire)
            hops.append(
                {
                    **{"from": host, "to": hosts[index + 1], "dtype": "float32"},
                    **{"shape": [batch, channels, side, side], "bytes_per_batch": size},
                    **{f"bytes_{kind}": 23 * size for kind in ("planned", "sent", "received")},
                    "receive_s": {"latency": jitter(source, wire, 5)},
                }
            )
    allocators = [worker["allocator"] for worker in plan["workers"] if "allocator" in worker]
    for part, allocator in zip(stages, allocators, strict=False):
        part |= {"allocator": allocator, "load_s": 0.05, "baseline_rss_bytes": 240 * 2**20}
        part |= {"partition_bytes": 2**20 * (part["end_block"] - part["first_block"])}
        part |= {"peak_rss_bytes": (300 if allocator == "default" else 360) * 2**20}
    if plan["backend"].startswith("rpc"):
        for hop in hops:  # RPC cannot tell when a tensor began to arrive
            hop["receive_s"] = {"latency": []}
            hop |= {"via": "server"} if plan["backend"] == "rpc_hub" else {}
    hops.append({"from": hosts[-1], "to": "server", "bytes_per_batch": 40 * batch})
    waits = jitter(source, network, 5)
    compute = zip(*(stage["compute_s"]["latency"] for stage in stages), strict=True)
    ends = [wait + sum(parts) for wait, parts in zip(waits, compute, strict=True)]
    rate = batch / slowest * source.lognormvariate(0, 0.006)
    factors = ("model", "classes", "image_px", "batch_size", "backend", "engine", "pairing")
    sizes = ("window", "warmup_batches", "latency_batches", "throughput_batches", "weights_seed")
    seconds_in = order * 9
    return {
        **{"schema_version": 1, "kind": "run", "attempt": 1, "status": "ok", "message": ""},
        "run_key": f"{source.getrandbits(64):016x}",
        "started_at": f"2000-01-01T{10 + seconds_in // 3600:02d}:"
        f"{seconds_in // 60 % 60:02d}:{seconds_in % 60:02d}Z",
        "cell_id": plan["cell_id"],
        "factors": {
            **{key: plan[key] for key in (*factors, *sizes)},
            **{"scenario": plan["scenario"]["name"], "cuts": list(cuts), "input": "resident"},
            **{"split": "P" + "-".join(map(str, cuts)), "repeat": repeat},
            **{"hosts": hosts, "netem": plan["scenario"]["netem"]},
            **({"allocators": allocators} if allocators else {}),
            **({"hub": "server"} if plan["backend"] == "rpc_hub" else {}),
        },
        **({"security": security(plan["backend"])} if allocators else {}),
        "order": order,
        "latency": {"batch_s": ends, "median_s": median(ends)},
        "throughput": {"img_s": rate, "steady_img_s": rate * 1.04, "window": plan["window"]},
        "stages": stages,
        "hops": hops,
        "network_s": {"latency": waits},
        "proof": {
            **{"max_rel_err": source.uniform(0, 2e-7), "argmax_equal": True, "tolerance": 1e-5},
            "batches_checked": 23,
        },
        "wall_s": 8.0,
        "network": {
            "asked": plan["scenario"]["netem"],
            "measured": {key: value * drift for key, value in measured.items()},
        },
        "hosts": {host: facts(host) for host in dict.fromkeys([*hosts, "server"])},
    }


def security(backend: str) -> str:
    """Return how the processes of a backend know each other."""
    return "hmac" if backend == "socket" else "rpc-insecure"


def stage(
    source: random.Random, index: int, host: str, first: int, end: int, seconds: float
) -> Record:
    """Return one invented stage."""
    return {
        **{"index": index, "host": host, "first_block": first, "end_block": end},
        "block_names": NAMES[first:end],
        "compute_s": {"latency": jitter(source, seconds, 5)},
        "cpu_percent": min(390.0, 40 + 300 * seconds),
        "peak_rss_bytes": 180_000_000 + 4_000_000 * (end - first),
        **{"threads": 4, "device": "cuda" if host == "server" else "cpu"},
    }


def facts(host: str) -> Record:
    """Return an invented host that says so."""
    return {
        **{"cpu_model": "synthetic (not measured)", "cpu_count": 4, "memory_bytes": 4 * 2**30},
        **{"machine": "x86_64" if host == "server" else "aarch64", "os": "synthetic"},
        **{"python": "3.11.2", "torch": "2.9.1", "runtime": "0.1.0+synthetic000"},
        **{"kernel": "synthetic", "governor": "performance", "congestion_control": "cubic"},
        **{
            "libc": "glibc 2.36",
            "slow_start_after_idle": "0",
            "temperature_c": None,
            "throttled": None,
        },
    }


def jitter(source: random.Random, seconds: float, times: int) -> list[float]:
    """Return a few values near the one given."""
    return [seconds * source.lognormvariate(0, 0.006) for _ in range(times)]


def spoil(lines: list[Record]) -> None:
    """Turn the first four runs into: invalid and re-run, invalid, failed, skipped."""
    again = {**lines[1], "attempt": 2}
    lines[1] = {**lines[1], "status": "invalid:network", "message": "rtt 231 ms, expected 200 ms"}
    lines[2] = {**lines[2], "status": "invalid:throttled", "message": "pi1 was throttled"}
    lines[3] = bare(lines[3], "failed:E_PEER_LOST", "pi2 closed the connection in batch 3")
    lines[4] = bare(lines[4], "skipped:memory", "stage 1 would not fit in 4 GiB")
    lines.insert(6, again)


def bare(record: Record, status: str, message: str) -> Record:
    """Return the record of a run that measured nothing."""
    keys = ("schema_version", "kind", "run_key", "attempt", "started_at", "cell_id", "factors")
    return {**{key: record[key] for key in keys}, "status": status, "message": message}
