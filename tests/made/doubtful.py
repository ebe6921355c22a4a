"""Records of a cell that measured only what was in doubt: a part of a sweep's, and predictions."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from statistics import median

from paretopipe_runtime.contract.candidates import Candidate
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.splits import cuts_of
from tests.made import sweep

#: Cuts by round, as of a front of early splits; the audit's in the last.
ROUNDS: Mapping[int, Sequence[int]] = {1: (1, 2, 3, 10), 2: (2, 3, 4, 1), 3: (3, 4, 5, 17)}


def cell(
    rounds: Mapping[int, Sequence[int]] = ROUNDS,
    error: float = 0.02,
    far: Mapping[int, float] | None = None,
    **known: object,
) -> list[Record]:
    """Return a plan line and the runs of `rounds`, end points in the first.

    Parameters
    ----------
    error
        What predictions are off by, as the deviation of a logarithm.
    far
        By cut, how many times longer the prediction is than it would be else.
    """
    options = {"end_points": True, "budget": 0.2, **known}
    budget = options.pop("budget")
    plan, *runs = sweep.cell(random.Random(5), **options)  # type: ignore[arg-type]
    off = random.Random(7)
    candidates = [
        _candidate(every, off.lognormvariate(0, error) * (far or {}).get(every[0], 1.0), runs)
        for every in sorted({cuts_of(run["factors"]) for run in _splits(runs)})
    ]
    last = max(rounds, default=0)
    plan["plan"] |= {
        "doubtful": {"budget": budget, "audit": 0.1, "delta": 0.02, "within_s": None},
        "candidates": [one.to_json() for one in candidates],
        "more": [
            {
                "splits": [[cut] for cut in cuts],
                "repeats": 1,
                "why": ["doubt"] * (len(cuts) - 1) + ["audit" if number == last else "common"],
            }
            for number, cuts in rounds.items()
        ],
    }
    plan["plan"]["provenance"]["options"] |= {"strategy": "doubtful", "budget": budget}
    kept = [
        run
        for run in runs
        for factors in [run["factors"]]
        if (
            factors["repeat"] == min(rounds, default=0)
            if factors.get("role")
            else factors["cuts"][0] in rounds.get(factors["repeat"], ())
        )
    ]
    return [plan, *kept]


def _splits(runs: Sequence[Record]) -> list[Record]:
    return [run for run in runs if not run["factors"].get("role")]


def _candidate(cuts: tuple[int, ...], times: float, runs: Sequence[Record]) -> Candidate:
    own = [run for run in _splits(runs) if cuts_of(run["factors"]) == cuts]
    latency = times * median(run["latency"]["median_s"] for run in own)
    stages = own[0]["stages"]
    parts = {stage["host"]: median(stage["compute_s"]["latency"]) for stage in stages}
    first, last = parts
    hop = latency - sum(parts.values())
    throughput = median(run["throughput"]["sustained_img_s"] for run in own) / times
    return Candidate(
        cuts,
        latency,
        throughput,
        run_s=10.0,
        latency_parts={**parts, f"{first}>{last}": hop} if hop > 0 else {},
        pace_parts=parts,
    )


def predicted(plan: Record) -> dict[tuple[int, ...], Candidate]:
    """Return a plan's candidates by their cuts."""
    return {one.cuts: one for one in map(Candidate.from_json, plan["candidates"])}
