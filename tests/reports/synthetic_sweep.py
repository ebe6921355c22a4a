"""Seeded synthetic records in the real format, never a measurement.

Hosts have the processor "synthetic", so that a page cannot be mistaken for a result.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from paretopipe_runtime.contract.lines import Record, checksum
from paretopipe_runtime.contract.models import MODELS

NAMES = [f"features.{k}" for k in range(19)] + ["pool", "classifier"]
CHANNELS = [32, 16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320, 1280, 1280]
SIDES = [112, 112, 56, 56, 28, 28, 28, *[14] * 7, *[7] * 5, 1]
PI_S = [0.15, 0.42, 0.40, *[0.061] * 14, 0.03, 0.02, 0.003, 0.012]
GPU_TIMES_FASTER = 60
GPU_S = [seconds / GPU_TIMES_FASTER for seconds in PI_S]
WAN = {"delay": "200ms", "rate": "5mbit", "jitter": "0ms", "loss": "0%", "direction": "egress"}
NETWORKS: dict[str, tuple[dict[str, str] | None, float, float]] = {
    "baseline": (None, 0.2, 930.0),
    "wan": (WAN, 200.3, 4.8),
}
PAIRINGS = {"pi_to_pi": ["pi1", "pi2"], "pi_to_gpu": ["pi1", "server"]}
# Of an unshaped link, between stages that compute nothing.
PAYLOADS = [4_000, 40_000, 400_000, 4_000_000, 12_845_056]


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


def write(
    folder: Path,
    seed: int = 0,
    repeats: int = 5,
    flaws: bool = True,
    models: Sequence[str] = ("mobilenetv2",),
    end_points: bool = False,
    sentinels: bool = False,
    again: Sequence[int] = (),
    profiles: bool = False,
    links: bool = False,
    **plan: Any,
) -> list[Path]:
    """Write two pairings under two networks, every split of each model; return the files.

    Parameters
    ----------
    flaws
        Omit one split and spoil four runs of the first model.
    end_points, sentinels, again
        As in `cell`; `again` in pi_to_pi's baseline only.
    profiles, links
        Add block profiles and links of both pairings.
    """
    source = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for model in models:
        for pairing, workers in PAIRINGS.items():
            for scenario in NETWORKS:
                place, flawed = (pairing, scenario), flaws and model == models[0]
                passes = again if place == ("pi_to_pi", "baseline") else ()
                lines = [
                    *cell(
                        source,
                        pairing,
                        workers,
                        scenario,
                        repeats,
                        model=model,
                        end_points=end_points,
                        sentinels=sentinels,
                        again=passes,
                        **plan,
                    )
                ]
                if flawed and place == ("pi_to_gpu", "wan"):
                    lines = [line for line in lines if line.get("factors", {}).get("cuts") != [20]]
                if flawed and place == ("pi_to_pi", "wan"):
                    spoil(lines)
                paths.append(write_cell(folder, lines))
        if profiles:
            paths.append(write_cell(folder, [*profile(source, model)]))
    if links:
        paths += [write_cell(folder, [*link(source, workers)]) for workers in PAIRINGS.values()]
    return paths


# Backend, engine and allocators of each cell; its latency and compute relative to the plainest's.
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
    """Write cells that differ in backend, engine or allocators only.

    All have one seed, so that ratios of medians are exactly those of `KINDS`.
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
    path = folder / f"{lines[0]['plan']['cell_id']}.jsonl"
    text = "".join(f"{json.dumps(seal(line), ensure_ascii=False)}\n" for line in lines)
    path.write_text(text, encoding="utf-8")
    return path


def seal(record: Record) -> Record:
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
    devices: Sequence[str] = (),
    model: str = "mobilenetv2",
    end_points: bool = False,
    sentinels: bool = False,
    again: Sequence[int] = (),
    **plan: Any,
) -> Iterator[Record]:
    """Yield a plan line and its runs, in randomised rounds as a sweep does.

    Without `allocators` or `devices` records are like older ones, which lacked them.

    Parameters
    ----------
    end_points
        Measure everything on the first host, and on the last, in every round.
    sentinels
        Measure the middle split at both ends of every round.
    again
        Rounds with a closing sentinel 20 % slower, measured again in a second pass.
    """
    asked, rtt, rate = NETWORKS[scenario]
    blocks = Blocks.of(model)
    names = [model, backend, pairing, scenario]
    names += [plan[key] for key in ("emulation", "transport") if key in plan]
    names += [engine] if engine != "eager" else []
    names += ["default_malloc"] if "default" in allocators else []
    names += [device for device in devices if device != "cpu"]
    whole = {
        "schema_version": 1,
        "cell_id": ".".join(names),
        **{"model": model, "classes": 10, "image_px": 224, "batch_size": 8},
        **{"backend": backend, "engine": engine, "pairing": pairing},
        "scenario": {
            "name": scenario,
            "netem": asked,
            "measured": {"rtt_ms": rtt, "rate_mbit": rate},
        },
        "workers": [
            {"host": host, "address": "192.0.2.1", "port": 47470}
            | ({"allocator": allocators[index]} if allocators else {})
            | ({"device": devices[index]} if devices and devices[index] != "cpu" else {})
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
        **({"end_points": True} if end_points else {}),
        **({"sentinel": True, "drift_limit": 0.05} if sentinels else {}),
        **plan,
    }
    yield {"schema_version": 1, "kind": "plan", "plan": whole}
    every = [list(cuts) for cuts in splits or [[k] for k in range(1, len(blocks.names))]]
    middle, order, keys = every[len(every) // 2], 0, dict[str, str]()
    for repeat in range(1, repeats + 1):
        for round_pass in (1, 2) if repeat in again else (1,):
            members: list[tuple[list[int], Record]] = [([*cuts], {}) for cuts in every]
            if end_points:
                last = workers[-1]
                members.append(([], {"role": "end_point", "split": f"all on {workers[0]}"}))
                members.append(
                    ([0] * (len(workers) - 1), {"role": "end_point", "split": f"all on {last}"})
                )
            source.shuffle(members)
            if sentinels:
                ends = [{"role": "sentinel", "sentinel": end} for end in ("open", "close")]
                members = [(middle, ends[0]), *members, (middle, ends[1])]
            for cuts, extra in members:
                order += 1
                record = run(source, whole, cuts, repeat, order, extra)
                # A second pass measures the same runs again, as further attempts.
                key = f"{repeat} {cuts} {extra}"
                record["run_key"] = keys.setdefault(key, record["run_key"])
                if round_pass > 1:
                    record |= {"block_pass": round_pass, "attempt": 2}
                elif repeat in again and extra.get("sentinel") == "close":
                    record["latency"]["median_s"] *= 1.2
                    record["throughput"]["img_s"] /= 1.2
                yield record


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
            wire = size * 8 / measured["rate_mbit"] / 1e6
            network += measured["rtt_ms"] / 1e3 / 2 + wire
            slowest = max(slowest, wire)
            hops.append(
                {
                    **{"from": host, "to": hosts[index + 1], "dtype": "float32"},
                    **{"shape": shape, "bytes_per_batch": size},
                    **{f"bytes_{kind}": 23 * size for kind in ("planned", "sent", "received")},
                    "receive_s": {"latency": jitter(source, wire, 5)},
                }
            )
    allocators = [worker["allocator"] for worker in plan["workers"] if "allocator" in worker]
    for part, allocator in zip(stages, allocators, strict=False):
        part |= {"allocator": allocator, "load_s": 0.05, "baseline_rss_bytes": 240 * 2**20}
        part |= {"partition_bytes": 2**20 * (part["end_block"] - part["first_block"])}
        part |= {"peak_rss_bytes": (300 if allocator == "default" else 360) * 2**20}
    devices = [worker.get("device", "cpu") for worker in plan["workers"]][: len(hosts)]
    planned = any("device" in worker for worker in plan["workers"])
    if planned:
        for part, device in zip(stages, devices, strict=True):
            part |= gpu(device) if device != "cpu" else {"device": "cpu"}
    if plan["backend"].startswith("rpc"):
        for hop in hops:  # RPC has no arrival time
            hop["receive_s"] = {"latency": []}
            hop |= {"via": "server"} if plan["backend"] == "rpc_hub" else {}
    hops.append({"from": hosts[-1], "to": "server", "bytes_per_batch": 40 * batch})
    if plan.get("transport") == "tls":
        hops = [{**hop, "cipher": "TLS_CHACHA20_POLY1305_SHA256"} for hop in hops]
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
            **{"split": "P" + "-".join(map(str, cuts)), "repeat": repeat, **(extra or {})},
            **{"hosts": hosts, "netem": plan["scenario"]["netem"]},
            **({"allocators": allocators} if allocators else {}),
            **({"devices": devices} if planned else {}),
            **({"hub": "server"} if plan["backend"] == "rpc_hub" else {}),
            **{key: plan[key] for key in ("emulation", "transport") if key in plan},
        },
        **(
            {"security": security(plan["backend"], plan.get("transport", "plain"))}
            if allocators
            else {}
        ),
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
        "hosts": {
            host: facts(host) | (GPU_FACTS if planned and host == "server" else {})
            for host in dict.fromkeys([*hosts, "server"])
        },
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


def profile(
    source: random.Random,
    model: str = "mobilenetv2",
    hosts: Sequence[str] = ("pi1", "pi2", "server"),
    repeats: int = 5,
    engine: str = "eager",
    allocator: str = "tuned",
    image_px: int = 224,
    batch_size: int = 8,
) -> Iterator[Record]:
    """Yield a plan line and block profiles consistent with `cell`."""
    blocks, cell_id = Blocks.of(model), f"{model}.profile"
    plan = {"schema_version": 1, "kind": "profile", "cell_id": cell_id, "model": model}
    yield {"schema_version": 1, "kind": "plan", "plan": plan}
    for repeat in range(1, repeats + 1):
        for host in hosts:
            seconds = blocks.seconds(host)
            yield {
                **{"schema_version": 1, "kind": "profile", "attempt": 1, "status": "ok"},
                **{"run_key": f"{source.getrandbits(64):016x}", "message": ""},
                **{"started_at": f"2000-01-01T09:{repeat:02d}:00Z", "cell_id": cell_id},
                "factors": {
                    **{"model": model, "classes": 10, "image_px": image_px},
                    **{"batch_size": batch_size, "engine": engine, "host": host},
                    **{"allocator": allocator, "repeat": repeat, "weights_seed": 0},
                    **{"warmup_batches": 2, "batches": 5},
                },
                "input_bytes": blocks.bytes_at(0, batch_size, image_px)[1],
                "whole_s": jitter(source, sum(seconds) + 0.002, 5),
                "blocks": [
                    _block(source, blocks, k, seconds[k], batch_size, image_px)
                    for k in range(len(seconds))
                ],
                "proof": {"max_rel_err": 1e-7, "argmax_equal": True, "tolerance": 1e-5},
                "hosts": {host: facts(host)},
                "wall_s": 30.0,
            }


def _block(
    source: random.Random, blocks: Blocks, index: int, seconds: float, batch: int, image_px: int
) -> Record:
    last = index == len(blocks.names) - 1
    shape, size = ([batch, 10], 40 * batch) if last else blocks.bytes_at(index + 1, batch, image_px)
    before = 240 * 2**20 + index * 2**20
    return {
        **{"index": index, "name": blocks.names[index], "parameters": 1_000 * (index + 1)},
        **{"weight_bytes": 4_000 * (index + 1), "flops": int(4e9 * seconds)},
        **{"output_shape": shape, "output_bytes": size},
        **{"compute_s": jitter(source, seconds, 5), "first_s": seconds * 1.5},
        **{"rss_before_bytes": before, "peak_rss_bytes": before + size},
    }


def link(
    source: random.Random,
    hosts: Sequence[str] = ("pi1", "pi2"),
    repeats: int = 5,
    scenario: str = "baseline",
    backend: str = "socket",
) -> Iterator[Record]:
    """Yield a plan line and measurements of a link, without computing."""
    asked, rtt, rate = NETWORKS[scenario]
    cell_id = f"link.{'-'.join(hosts)}.{backend}"
    plan = {"schema_version": 1, "kind": "link", "cell_id": cell_id, "hosts": [*hosts]}
    yield {"schema_version": 1, "kind": "plan", "plan": plan}
    for repeat in range(1, repeats + 1):
        yield {
            **{"schema_version": 1, "kind": "link", "attempt": 1, "status": "ok", "message": ""},
            "run_key": f"{source.getrandbits(64):016x}",
            **{"started_at": f"2000-01-01T08:{repeat:02d}:00Z", "cell_id": cell_id},
            "factors": {
                **{"hosts": [*hosts], "backend": backend, "repeat": repeat, "window": 4},
                **{"payload_bytes": PAYLOADS, "batches": 5},
            },
            "transfers": [
                {
                    "payload_bytes": size,
                    # The rest of a run of `cell`, beside its stages' 2 ms each.
                    "latency_s": jitter(source, 0.034 + rtt / 2e3 + size * 8 / rate / 1e6, 5),
                    "pace_s": max(jitter(source, size * 8 / rate / 1e6, 1)[0], 0.002),
                }
                for size in PAYLOADS
            ],
            "network": {"asked": asked, "measured": {"rtt_ms": rtt, "rate_mbit": rate}},
            "hosts": {host: facts(host) for host in hosts},
            "wall_s": 10.0,
        }


def jitter(source: random.Random, seconds: float, times: int) -> list[float]:
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
    """Return a run's record without measurements."""
    keys = ("schema_version", "kind", "run_key", "attempt", "started_at", "cell_id", "factors")
    return {**{key: record[key] for key in keys}, "status": status, "message": message}
