"""Estimate a run's length from the seconds of a whole model on each of its hosts.

Also for a controller, before any host is touched: it needs Python's own library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from paretopipe_runtime.contract.chain import Chain
from paretopipe_runtime.contract.splits import stage_ranges
from paretopipe_runtime.orchestrator.runs import Run

LAUNCH_S = 0.3
LAUNCH_ROUND_TRIPS = {"socket": 7, "rpc": 30, "rpc_hub": 42}  # PyTorch RPC meets through a store
TLS_ROUND_TRIPS = 4  # two per handshake, with the orchestrator and between stages
VISIT_S = 12.0  # the playbooks' overhead per visit to a cell, network changes shared out, about


def launch_s(chain: Chain) -> float:
    """Return the estimated seconds of a launch, mostly round trips."""
    round_trips = LAUNCH_ROUND_TRIPS[chain.backend] + TLS_ROUND_TRIPS * (chain.transport == "tls")
    return LAUNCH_S + round_trips * chain.rtt_s


def run_seconds(
    chain: Chain,
    run: Run,
    work: Sequence[float],
    hop_bytes: Sequence[int],
    whole_s: Mapping[str, float],
) -> float:
    """Return the estimated seconds of `run`.

    latency = compute + transfers + round trip; the saturated phase fills the pipeline once, then
    goes at the pace of its slowest stage or hop.

    Parameters
    ----------
    work : sequence of float
        Each block's share of the model's operations.
    hop_bytes : sequence of int
        Payload of a batch on every hop of the run, the last the predictions, which are small.
    whole_s : mapping
        Seconds of a batch of the whole model by host.
    """
    ranges = stage_ranges(run.cuts, len(work))
    compute_s = [
        whole_s[worker.host] * sum(work[first:end])
        for worker, (first, end) in zip(run.workers, ranges, strict=True)
    ]
    transfers_s = chain.transfers_s(hop_bytes)[:-1]
    one_s = sum(compute_s) + sum(transfers_s) + chain.rtt_s
    turns_s = [s / len(worker.each) for s, worker in zip(compute_s, run.workers, strict=True)]
    pace_s = max(turns_s + transfers_s)
    alone = run.warmup_batches + run.latency_batches + 1
    return launch_s(chain) + alone * one_s + (run.throughput_batches - 1) * pace_s
