"""Make one proved run of the benchmark: plan, drive, record, and row for the tables."""

from __future__ import annotations

import heapq
import secrets
import statistics
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.limits import allocator_of, backend_of
from paretopipe_runtime import forked
from paretopipe_runtime.contract.factors import BACKEND, ENGINES, Variant
from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.network import Network
from paretopipe_runtime.contract.plan import Plan, read_plan
from paretopipe_runtime.contract.splits import split_name, stage_ranges
from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.orchestrator import record
from paretopipe_runtime.orchestrator.deployment import deploy
from paretopipe_runtime.orchestrator.drive import drive
from paretopipe_runtime.orchestrator.prepared import Prepared, prepare
from paretopipe_runtime.orchestrator.runs import expand, stages_of
from paretopipe_runtime.records import Records
from paretopipe_runtime.wire.keys import Keys

#: Accepted in an `alone` run, whose payload does not cross the link.
_ALONE = {"bytes_mismatch", "exceeds_wire"}


@dataclass(frozen=True)
class Case:
    part: str
    model: str
    cut: int
    variant: str
    engine: str = "eager"
    warmup: int = 1
    latency: int = 3
    throughput: int = 8

    @property
    def backend(self) -> str:
        return backend_of(self.variant)

    @property
    def allocator(self) -> str:
        return allocator_of(self.variant)

    @property
    def label(self) -> str:
        """Name for the progress line."""
        engine = "" if self.engine == "eager" else f" {self.engine}"
        return f"{self.part}: {self.model} P{self.cut} {self.variant}{engine}"


class Laboratory:
    """The nodes under one network condition."""

    def __init__(self, document: dict[str, Any], keys: Keys, state_dir: Path) -> None:
        self._document, self._keys, self._state_dir = document, keys, state_dir
        self._records = Records(Path(document["records"]))
        self._prepared: dict[tuple[Any, ...], Prepared] = {}
        self.hosts: dict[str, Any] = {}

    def prepare(self, case: Case) -> Prepared:
        """Create a model's weights, or its stages' program, and reference answers; deploy them."""
        split = (case.engine, case.cut) if ENGINES[case.engine].exported else ()
        if (made := self._prepared.get((case.model, *split))) is not None:
            return made
        plan = self._plan(case)
        made = prepare(plan.workload, self._state_dir, stages_of(plan))
        for worker in plan.chain.workers:
            deploy(worker, made.manifest, self._state_dir / "weights", self._keys)
        return self._prepared.setdefault((case.model, *split), made)

    def measure(self, case: Case, round_: int) -> dict[str, Any]:
        """Run `case` once, in a fresh process; a failure is a row too."""
        plan = self._plan(case)
        row: dict[str, Any] = {
            "network": self._document["network"]["name"],
            "part": case.part,
            "model": case.model,
            "split": split_name((case.cut,)),
            "variant": case.variant,
            "engine": case.engine,
            "round": round_,
            "batch": plan.workload.batch_size,
        }
        started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        run_id = f"bench-{secrets.token_hex(8)}"

        def fresh() -> Any:
            seen = drive(plan, run, prepared, self._keys, run_id)
            return record.success(plan, run, prepared, seen)

        try:
            prepared = self.prepare(case)
            (run,) = expand(plan, prepared.hop_bytes)
            seen = forked.call(fresh)
        except ParetoPipeError as error:
            return {**row, "status": f"failed:{error.code}", "message": error.message}
        head = {
            "kind": "run",
            "run_key": f"{run.key}-{case.part}-{round_}",
            "attempt": 1,
            "started_at": started,
            "cell_id": plan.cell_id,
            "factors": run.factors,
            "network": plan.chain.network_facts,
            "message": "",
        }
        self._records.append({**head, **seen})
        self.hosts.update(seen["hosts"])
        return {**row, **summary(seen, prepared, run.cuts, case)}

    def link(self) -> dict[str, float | None]:
        """Return the requested rate in Mbit/s, burst in bytes and one-way delay in seconds."""
        network = self._document["network"]
        asked = Network(netem=network["netem"])  # only one direction is delayed
        return {
            "rate_mbit": asked.asked_rate_mbit,
            "burst_bytes": network["burst_bytes"],
            "delay_s": asked.rtt_s,
        }

    def _plan(self, case: Case) -> Plan:
        """Build a plan for a backend of the product, then set the benchmark's."""
        info = model_info(case.model)
        network = self._document["network"]
        workers = [{**worker, "allocator": case.allocator} for worker in self._document["workers"]]
        plan = read_plan(
            {
                "schema_version": 1,
                "cell_id": f"bench.{network['name']}.{case.part}",
                "model": info.name,
                "classes": info.default_classes,
                "image_px": int(self._document.get("image_px") or info.image_px),
                "batch_size": int(self._document["batch_size"]),
                "backend": case.backend if case.backend in BACKEND.values else "socket",
                "engine": case.engine,
                "pairing": "bench",
                "scenario": network,
                "workers": workers,
                "splits": [[case.cut]],
                "repeats": 1,
                "seed": 0,
                "warmup_batches": case.warmup,
                "latency_batches": case.latency,
                "throughput_batches": case.throughput,
                "window": int(self._document["window"]),
                "saturate": True,
                "weights_seed": 0,
                "provenance": self._document.get("provenance", {}),
                "hub": self._document["hub"],
            }
        )
        variant = Variant(plan.chain.variant, backend=case.backend)
        return replace(plan, chain=replace(plan.chain, variant=variant))


def summary(
    seen: dict[str, Any], prepared: Prepared, cuts: tuple[int, ...], case: Case
) -> dict[str, Any]:
    """Return a record's figures for the tables, rounded to microseconds."""
    status = seen["status"]
    if case.backend == "alone" and set(status.removeprefix("invalid:").split(",")) <= _ALONE:
        status = "ok"
    completions = seen["throughput"]["completion_s"]
    stages, (hop, *_) = seen["stages"], seen["hops"]
    return {
        "status": status,
        "max_rel_err": seen["proof"]["max_rel_err"],
        "latency_s": round(seen["latency"]["median_s"], 6),
        "network_s": _median(seen["network_s"]["latency"]),
        "receive_s": _median(hop.get("receive_s", {}).get("latency", [])),
        "batches": len(completions),
        "makespan_s": round(completions[-1], 6),
        "img_s": round(seen["throughput"]["img_s"], 4),
        "steady_img_s": seen["throughput"]["sustained_img_s"],
        "compute_s": [
            {phase: _median(stage["compute_s"][phase]) for phase in ("latency", "throughput")}
            for stage in stages
        ],
        "hop_bytes": hop["bytes_per_batch"],
        "launch_s": round(seen["phases_s"]["launch"], 6),
        "load_s": [round(stage["load_s"], 6) for stage in stages],
        "peak_rss": [stage["peak_rss_bytes"] for stage in stages],
        "baseline_rss": [stage["baseline_rss_bytes"] for stage in stages],
        "partition_bytes": [stage["partition_bytes"] for stage in stages],
        # Of the tensors at the boundaries of each stage's blocks.
        "two_activations": [
            sum(
                heapq.nlargest(
                    2, (tensor.nbytes for tensor in prepared.boundaries[first : end + 1])
                )
            )
            for first, end in stage_ranges(cuts, len(prepared.boundaries) - 1)
        ],
    }


def _median(values: list[float]) -> float | None:
    return round(statistics.median(values), 6) if values else None
