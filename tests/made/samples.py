"""Seeded records of block profiles and links, consistent with those of `runs`."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from paretopipe_runtime.contract.lines import Record
from tests.made import runs

# Of an unshaped link, between stages that compute nothing.
PAYLOADS = [4_000, 40_000, 400_000, 4_000_000, 12_845_056]


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
    blocks, cell_id = runs.Blocks.of(model), f"{model}.profile"
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
                "whole_s": runs.jitter(source, sum(seconds) + 0.002, 5),
                "blocks": [
                    _block(source, blocks, k, seconds[k], batch_size, image_px)
                    for k in range(len(seconds))
                ],
                "proof": {"max_rel_err": 1e-7, "argmax_equal": True, "tolerance": 1e-5},
                "hosts": {host: runs.facts(host)},
                "wall_s": 30.0,
            }


def _block(
    source: random.Random,
    blocks: runs.Blocks,
    index: int,
    seconds: float,
    batch: int,
    image_px: int,
) -> Record:
    last = index == len(blocks.names) - 1
    shape, size = ([batch, 10], 40 * batch) if last else blocks.bytes_at(index + 1, batch, image_px)
    before = 240 * 2**20 + index * 2**20
    return {
        **{"index": index, "name": blocks.names[index], "parameters": 1_000 * (index + 1)},
        **{"weight_bytes": 4_000 * (index + 1), "flops": int(4e9 * seconds)},
        **{"output_shape": shape, "output_bytes": size},
        **{"compute_s": runs.jitter(source, seconds, 5), "first_s": seconds * 1.5},
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
    asked, rtt, rate = runs.NETWORKS[scenario]
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
                    "latency_s": runs.jitter(source, 0.034 + rtt / 2e3 + size * 8 / rate / 1e6, 5),
                    "pace_s": max(runs.jitter(source, size * 8 / rate / 1e6, 1)[0], 0.002),
                }
                for size in PAYLOADS
            ],
            "network": {"asked": asked, "measured": {"rtt_ms": rtt, "rate_mbit": rate}},
            "hosts": {host: runs.facts(host) for host in hosts},
            "wall_s": 10.0,
        }
