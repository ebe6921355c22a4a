"""Records of runs, and their validity.

A run without proof of its outputs is invalid, not slow. Rules read proofs and covariates, never the
figures they would excuse, except to reject the impossible.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from paretopipe_runtime import golden
from paretopipe_runtime.contract.chain import Chain, Worker
from paretopipe_runtime.contract.codecs import CODECS, NONE, Codec
from paretopipe_runtime.contract.factors import ENGINES
from paretopipe_runtime.contract.measures import REPORTED, pace_s
from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.plan import Plan
from paretopipe_runtime.contract.splits import codec_of, stage_ranges
from paretopipe_runtime.orchestrator.disturbed import ORCHESTRATOR, disturbances, message
from paretopipe_runtime.orchestrator.postmortem import Boots, changed, rebooted
from paretopipe_runtime.orchestrator.prepared import Prepared
from paretopipe_runtime.orchestrator.runs import Run

WIRE_SLACK = 1.05  # netem's token accounting and the head of a burst


def success(plan: Plan, run: Run, prepared: Prepared, seen: dict[str, Any]) -> dict[str, Any]:
    """Return the record's measured part."""
    batches = run.warmup_batches + run.latency_batches + run.throughput_batches
    codec = CODECS[codec_of(run.cuts)]
    phase_of = ["warmup"] * run.warmup_batches + ["latency"] * run.latency_batches
    phase_of += ["throughput"] * run.throughput_batches
    engine = plan.workload.engine
    reports, ready = seen["reports"], seen["ready"]
    stages = _stages(plan, run, prepared, seen, phase_of)
    hops = _hops(plan, run, prepared, seen, phase_of)
    latency_s = seen["latency"]["batch_s"]
    compute_s = [
        sum(times) for times in zip(*(s["compute_s"]["latency"] for s in stages), strict=True)
    ]
    record = {
        "security": security(plan.chain),
        "warmup": seen["warmup"],
        "latency": {"batch_s": latency_s, "median_s": statistics.median(latency_s)},
        "throughput": _throughput(plan, run.ramp_batches, seen["throughput"]),
        "stages": stages,
        "hops": hops,
        "network_s": {
            "latency": [whole - part for whole, part in zip(latency_s, compute_s, strict=True)]
        },
        "proof": proof_of(engine, prepared, ready, seen["proof"], codec),
        "phases_s": seen["phases_s"],
        "wall_s": seen["wall_s"],
        "hosts": hosts_of(run.workers, ready, reports),
        "orchestrator": seen["swapped"],
    }
    disturbed = {**record["hosts"], ORCHESTRATOR: record["orchestrator"]}
    again = _rebooted(run, seen)
    if again:
        record["message"] = rebooted(", ".join(again)).message
    elif said := message(disturbed):
        record["message"] = said
    encrypted = plan.chain.transport != "tls" or all(hop["cipher"] for hop in hops)
    bytes_equal = all(
        hop["bytes_planned"] == hop["bytes_sent"] == hop["bytes_received"] for hop in hops
    )
    checks: dict[str, object] = {
        "node_rebooted": bool(again),
        **unproved(seen["proof"], ENGINES[engine].tolerance, batches, codec),
        "unencrypted": not encrypted,
        "input_mismatch": ready[0]["input_digest"] != prepared.input_digest,
        "bytes_mismatch": not bytes_equal,
        "codec_mismatch": any(hop.get("decoded_equal") is False for hop in hops),
        "exceeds_wire": _exceeds_wire(plan, record),
        **disturbances(disturbed),
    }
    return {"status": status_of(checks), **record}


def proof_of(
    engine: str,
    prepared: Prepared,
    ready: list[dict[str, Any]],
    seen: dict[str, Any],
    codec: Codec = CODECS[NONE],
) -> dict[str, Any]:
    return {
        **{key: seen[key] for key in ("max_rel_err", "argmax_equal", "batches_checked")},
        **{key: seen[key] for key in golden.AGREEMENT if key in seen},
        "tolerance": ENGINES[engine].tolerance + codec.tolerance,
        "weights_digest": prepared.weights_digest,
        "input_digest": ready[0]["input_digest"],
        "reference_digest": prepared.reference_digest,
    }


def hosts_of(
    workers: Sequence[Worker], ready: list[dict[str, Any]], reports: list[dict[str, Any]]
) -> dict[str, Any]:
    """Merge each host's description and counters."""
    return {
        worker.host: {**answer["host"], **report["host"]}
        for worker, answer, report in zip(workers, ready, reports, strict=True)
    }


def status_of(checks: Mapping[str, object]) -> str:
    """Return ``ok``, or ``invalid:`` and every reason that holds."""
    reasons = [reason for reason, holds in checks.items() if holds]
    return f"invalid:{','.join(reasons)}" if reasons else "ok"


def unproved(
    proof: dict[str, Any], tolerance: float, batches: int, codec: Codec = CODECS[NONE]
) -> dict[str, bool]:
    """Return a flag for each reason to reject the outputs.

    Where tensors go encoded an image may change its class, but predictions for one input must be
    the same, and tell it from the others.
    """
    error = proof["max_rel_err"]
    if codec.name == NONE:
        same = proof["argmax_equal"]
    else:
        told = proof.get("nearest") or (codec.coarse and proof.get("own_distance", 1) < 1)
        same = told and proof["repeat_rel_err"] <= tolerance
    return {
        "non_finite": not proof["finite"],
        "output_mismatch": error is None or error > tolerance + codec.tolerance or not same,
        "unchecked_batches": proof["batches_checked"] != batches,
    }


def security(chain: Chain) -> str:
    """Return ``hmac`` (authenticated set-up), ``tls`` (every byte) or ``rpc-insecure``."""
    if chain.backend != "socket":
        return "rpc-insecure"
    return "tls" if chain.transport == "tls" else "hmac"


def _throughput(plan: Plan, ramp: int, phase: dict[str, Any]) -> dict[str, Any]:
    """Add images per second: `img_s` pays for filling the pipeline, `sustained_img_s` does not."""
    batch, done = plan.workload.batch_size, phase["completion_s"]
    sustained = batch / pace_s(done[ramp:], phase["window"])
    said = {"ramp_batches": ramp} if ramp else {}
    return {**phase, **said, "img_s": batch * len(done) / done[-1], "sustained_img_s": sustained}


def _by_phase(values: list[tuple[int, float]], phase_of: list[str]) -> dict[str, list[float]]:
    phases: dict[str, list[float]] = {"warmup": [], "latency": [], "throughput": []}
    for batch_id, value in values:
        phases[phase_of[batch_id]].append(value)
    return phases


def _stages(
    plan: Plan, run: Run, prepared: Prepared, seen: dict[str, Any], phase_of: list[str]
) -> list[dict[str, Any]]:
    names = model_info(plan.workload.model).block_names
    blocks = prepared.manifest["blocks"]
    ranges = stage_ranges(run.cuts, len(names))
    return [
        {
            "index": index + 1,
            "host": worker.host,
            "first_block": first,
            "end_block": end,
            "block_names": list(names[first:end]),
            "parameters": sum(block["parameters"] for block in blocks[first:end]),
            "partition_bytes": sum(block["nbytes"] for block in blocks[first:end]),
            "load_s": answer["load_s"],
            "compute_s": _by_phase([(b, c) for b, _, c in report["batches"]], phase_of),
            "cpu_s": report["cpu_s"],
            "allocator": worker.allocator,
            **{name: report[name] for name in REPORTED},
            "threads": report["threads"],
            **_gpu(report, phase_of),
        }
        for index, (worker, answer, report, (first, end)) in enumerate(
            zip(run.workers, seen["ready"], seen["reports"], ranges, strict=True)
        )
    ]


def _gpu(report: dict[str, Any], phase_of: list[str]) -> dict[str, Any]:
    if "gpu" not in report:
        return {}
    batch_ids = [batch_id for batch_id, _, _ in report["batches"]]
    return {
        **{f"gpu_{key}": value for key, value in report["gpu"].items()},
        **{
            f"gpu_{step}_s": _by_phase(list(zip(batch_ids, seconds, strict=True)), phase_of)
            for step, seconds in report["gpu_s"].items()
        },
    }


def _hops(
    plan: Plan, run: Run, prepared: Prepared, seen: dict[str, Any], phase_of: list[str]
) -> list[dict[str, Any]]:
    """Return one entry per hop, the last one to the orchestrator."""
    reports = seen["reports"]
    hosts = [worker.host for worker in run.workers] + ["orchestrator"]
    hops = []
    for index, boundary in enumerate((*run.cuts, len(prepared.boundaries) - 1)):
        between = index + 1 < len(reports)
        tensor = prepared.boundaries[boundary]
        wire = tensor.written(codec_of(run.cuts)) if between else tensor
        hop: dict[str, Any] = {
            "from": hosts[index],
            "to": hosts[index + 1],
            "shape": list(tensor.shape),
            "dtype": tensor.dtype,
            "bytes_per_batch": wire.nbytes,
            "bytes_planned": wire.nbytes * len(phase_of),
            "bytes_sent": reports[index]["payload_sent"],
        }
        if plan.chain.hub:
            hop["via"] = plan.chain.hub.host
        if wire is not tensor:
            hop |= _coded(reports[index], reports[index + 1], wire.codec, phase_of)
        if between:
            arrivals = [(b, r) for b, r, _ in reports[index + 1]["batches"] if r is not None]
            hop["bytes_received"] = reports[index + 1]["payload_received"]
            hop["receive_s"] = _by_phase(arrivals, phase_of)
        else:
            hop["bytes_received"] = seen["proof"]["payload_received"]
        if plan.chain.transport == "tls":
            arrived = reports[index + 1] if index + 1 < len(reports) else seen["proof"]
            hop["cipher"] = arrived.get("cipher")
        hops.append(hop)
    return hops


def _coded(
    sender: dict[str, Any], receiver: dict[str, Any], codec: str, phase_of: list[str]
) -> dict[str, Any]:
    """Return a hop's codec, its seconds at both ends, and whether both decoded to the same bits."""
    return {
        "codec": codec,
        "encode_s": _by_phase([*enumerate(sender["encode_s"])], phase_of),
        "decode_s": _by_phase([*enumerate(receiver["decode_s"])], phase_of),
        "decoded_equal": sender["encoded"] == receiver["decoded"],
        "decoded_digest": receiver["decoded"],
    }


def _rebooted(run: Run, seen: dict[str, Any]) -> list[str]:
    def told(answers: list[dict[str, Any]]) -> Boots:
        names = (worker.host for worker in run.workers)
        return {
            name: answer["host"].get("boot_id") for name, answer in zip(names, answers, strict=True)
        }

    before, after = told(seen["ready"]), told(seen["reports"])
    return changed(before, before, after)


def _exceeds_wire(plan: Plan, record: dict[str, Any]) -> bool:
    """Tell whether batches passed a hop faster than its link allows."""
    hops = list(zip(plan.chain.networks, record["hops"], strict=False))
    if len(record["stages"]) < 2:
        return False
    least_delay_s = sum(network.least_delay_s for network, _ in hops)
    if min(record["latency"]["batch_s"]) * WIRE_SLACK < least_delay_s:
        return True
    batches = len(record["throughput"]["completion_s"])
    least_s = batches * max(network.transfer_s(hop["bytes_per_batch"]) for network, hop in hops)
    return bool(record["throughput"]["completion_s"][-1] * WIRE_SLACK < least_s)
