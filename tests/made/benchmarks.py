"""Results as the benchmark writes them, with numbers that are easily foretold."""

from __future__ import annotations

from typing import Any

ROUNDS = (1, 2, 3)
RATE_MBIT = 1000.0
MB = 1024 * 1024


def result(name: str, rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """Return one network's result."""
    host = {
        "deployment": "virtual testbed: 100 % of one processor, 4 GiB of memory",
        "cpu_model": "Some Processor",
        "cpu_affinity": 1,
        "cpu_count": 2,
        "kernel": "6.1",
        "libc": "glibc 2.36",
        "congestion_control": "cubic",
        "torch": "2.13.0",
    }
    return {
        "schema_version": 1,
        "network": {"name": name, "about": "as it is", "netem": None, "measured": None},
        "link": {"rate_mbit": RATE_MBIT if name == "gigabit" else None, "delay_s": 0.0},
        "quick": False,
        "workers": ["pi2", "server"],
        "measured_at": "2026-01-02T03:04:05Z",
        "runtime": "0.1.0+abcdef",
        "provenance": {"commit": "0123456789abcdef", "dirty": False},
        "batch_size": 8,
        "window": 4,
        "wall_s": 90.0,
        "hosts": {"pi2": host, "server": host},
        "rows": rows,
        "notes": [],
        **changes,
    }


def transport(
    method: str, nbytes: int, round_: int, one_way_s: float, **changes: Any
) -> dict[str, Any]:
    """Return a transport row; the stream is as fast as the pings."""
    return {
        "network": "unshaped",
        "part": "transport",
        "method": method,
        "nbytes": nbytes,
        "round": round_,
        "one_way_s": one_way_s,
        "stream_s": one_way_s,
        "bytes_s": nbytes / one_way_s,
        **changes,
    }


def run(variant: str, round_: int, latency_s: float, pace_s: float, **changes: Any) -> Any:
    """Return a pipeline row of MobileNetV2 P3: stages of 40 and 50 ms, 1.448 MB between them."""
    batches = 10
    stages = [{"latency": 0.030, "throughput": 0.040}, {"latency": 0.045, "throughput": 0.050}]
    return {
        "network": "gigabit",
        "part": "pipeline",
        "model": "mobilenetv2",
        "split": "P3",
        "variant": variant,
        "engine": "eager",
        "round": round_,
        "status": "ok",
        "max_rel_err": 1e-7,
        "latency_s": latency_s,
        "network_s": latency_s - 0.075,
        "receive_s": None,
        "batch": 8,
        "batches": batches,
        "makespan_s": latency_s + (batches - 1) * pace_s,
        "img_s": 8 / pace_s,
        "steady_img_s": 8 / pace_s,
        "compute_s": stages,
        "hop_bytes": 1_448_000,
        "launch_s": 0.2,
        "load_s": [0.1, 0.1],
        "peak_rss": [500 * MB, 600 * MB],
        "baseline_rss": [200 * MB, 200 * MB],
        "partition_bytes": [100 * MB, 200 * MB],
        "two_activations": [100 * MB, 100 * MB],
        **changes,
    }


def everything() -> dict[str, dict[str, Any]]:
    """Return the results of all three networks."""
    sizes = (4096, 262144, 4 * MB, 32 * MB)
    plain = [
        transport(method, nbytes, round_, nbytes * 1e-9 * factor)
        for method, factor in (("raw/default", 1), ("ours/tuned", 1.02), ("rpc/tuned", 3))
        for nbytes in sizes
        for round_ in ROUNDS
    ]
    # A GB takes 1.5 s of the sender's processor and 2.25 s of the receiver's.
    encrypted = [
        transport(
            *("tls/tuned", nbytes, round_, nbytes * 4e-9),
            processor_s=[nbytes * 1.5e-9, nbytes * 2.25e-9],
            cipher="TLS_AES_128_GCM_SHA256",
        )
        for nbytes in sizes
        for round_ in ROUNDS
    ]
    engines = [
        run("socket", round_, 0.1, 0.05, part="engines", engine=engine, compute_s=[times, times])
        for engine, times in (
            ("eager", {"latency": 0.2, "throughput": 0.2}),
            ("onnxruntime", {"latency": 0.1, "throughput": 0.1}),
        )
        for round_ in ROUNDS
    ]
    memory = [
        run(variant, 1, 0.1, 0.05, part="memory", model="vgg16", split="P5")
        for variant in ("socket", "socket/default")
    ]
    # The limit: 40 + 12.112 + 50 ms, and 50 ms between batches.
    gigabit = [
        run(variant, round_, latency_s, pace_s)
        for variant, latency_s, pace_s in (
            ("alone", 0.09, 0.05),
            ("alone/default", 0.09, 0.05),
            ("socket", 0.1032, 0.051),
            ("rpc", 0.1033, 0.052),
            ("pickle/default", 0.2064, 0.102),
        )
        for round_ in ROUNDS
    ]
    slow_link = {"rate_mbit": 5.0, "delay_s": 0.2}
    # 2.4224 s on the wire and 0.2 s of delay.
    slow = [
        run(variant, round_, 0.075 + 2.7, 2.45)
        for variant in ("alone", "socket")
        for round_ in ROUNDS
    ]
    return {
        "unshaped": result("unshaped", [*plain, *encrypted, *engines, *memory]),
        "gigabit": result("gigabit", gigabit, notes=["rpc_hub: it would not start"]),
        "wan": result("wan", slow, link=slow_link),
    }
