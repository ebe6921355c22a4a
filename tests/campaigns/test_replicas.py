"""One host against two of the same for the slowest stage, in turn: real agents on two processors.

MobileNetV2 over three stages, of which the middle has all blocks but the first and the last. Each
host has one processor: pi2 shares one with the server, pi3 one with pi1, whose stages are short.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.orchestrator import record
from paretopipe_runtime.orchestrator.drive import drive
from paretopipe_runtime.orchestrator.forecast import prepare_cells
from paretopipe_runtime.orchestrator.prepared import prepare
from paretopipe_runtime.orchestrator.runs import run_of
from tests.campaigns.conftest import Findings
from tests.runtime.cluster import Cluster

NUMBERS = {"pi1": 11, "pi2": 12, "pi3": 13, "server": 14}
CHAINS = (["pi1", ["pi2"], "server"], ["pi1", ["pi2", "pi3"], "server"])
CUTS = (1, 20)
ROUNDS = 12


def test_two_hosts_for_the_slowest_stage(tmp_path: Path, findings: Findings) -> None:
    addresses = {host: f"127.0.77.{number}" for host, number in NUMBERS.items()}
    seen: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with Cluster.running(tmp_path, addresses=addresses) as cluster:
        plans = [read_plan(_document(cluster, chain)) for chain in CHAINS]
        documents = [plan.document for plan in plans]
        prepare_cells(documents, cluster.state_dir, cluster.keys, lambda _: None)
        prepared = prepare(plans[0].workload, cluster.state_dir)
        for repeat in range(ROUNDS):
            for plan in plans:
                run = run_of(plan, prepared.hop_bytes, CUTS, repeat)
                place, run_id = plan.chain.workers[1].place, f"{plan.pairing}-{repeat}"
                told = drive(plan, run, prepared, cluster.keys, run_id)
                row = record.success(plan, run, prepared, told)
                assert row["status"] == "ok", row
                seen[place].append(
                    (row["throughput"]["sustained_img_s"], row["latency"]["median_s"])
                )
    for number, (name, unit) in enumerate((("throughput", "images/s"), ("latency", "s"))):
        one, two = ([pair[number] for pair in pairs] for pairs in seen.values())
        for place, values in zip(seen, (one, two), strict=True):
            findings.add(
                f"{name:10} pi1 → {place:7} → server: {median(values):.3g} {unit} in the median of "
                f"{len(values)} runs, {min(values):.3g} to {max(values):.3g}"
            )
        ratios = [b / a for a, b in zip(one, two, strict=True)]
        findings.add(
            f"{name:10} of pairs side by side: {median(ratios):.2f} times, {min(ratios):.2f} to "
            f"{max(ratios):.2f}"
        )


def _document(cluster: Cluster, chain: list[Any]) -> dict[str, Any]:
    def worker(host: str) -> dict[str, Any]:
        return {"host": host, "address": cluster.addresses[host], "port": cluster.port}

    first, (second, *others), last = chain[0], chain[1], chain[2]
    replicas = {"replicas": [*map(worker, others)]} if others else {}
    return cluster.plan(
        workers=[worker(first), {**worker(second), **replicas}, worker(last)],
        pairing="farm" if others else "chain",
        cell_id="farm" if others else "chain",
        **{"splits": [[*CUTS]], "image_px": 224, "batch_size": 8, "window": 4, "saturate": True},
        **{"warmup_batches": 2, "latency_batches": 5, "throughput_batches": 24},
    )
