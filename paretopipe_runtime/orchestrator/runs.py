"""Runs of a plan: their order and keys.

A *run* is one fresh launch and one record: of a split and a repeat, of a profiled host, or of a
link.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from paretopipe_runtime.contract.chain import Worker
from paretopipe_runtime.contract.codecs import NONE
from paretopipe_runtime.contract.factors import in_key
from paretopipe_runtime.contract.lines import Record, canonical
from paretopipe_runtime.contract.models import model_info
from paretopipe_runtime.contract.plan import Plan
from paretopipe_runtime.contract.splits import (
    Cuts,
    codec_of,
    coded,
    listed,
    split_name,
    stage_ranges,
    unlisted,
)

if TYPE_CHECKING:
    from paretopipe_runtime.wire.keys import Keys

Member = TypeVar("Member")

#: Transfer seconds per phase beyond which its batches are cut down.
TRANSFER_BUDGET_S = 60.0

#: Replicate of a split, whole model on one host, or a sentinel.
Role = Literal["split", "end_point", "open", "close"]


@dataclass(frozen=True)
class Run:
    """One fresh launch; `repeat` is the number of its round.

    The first `ramp_batches` of the throughput phase do not count: TCP is filling a long link.
    """

    cuts: Cuts
    workers: tuple[Worker, ...]
    repeat: int
    order: int
    warmup_batches: int
    latency_batches: int
    throughput_batches: int
    factors: dict[str, Any]
    role: Role = "split"
    window: int = 1
    ramp_batches: int = 0

    @property
    def split(self) -> str:
        """``P3``, ``P3 int8``, ``P3-9``; ``all on pi1``; a profile's host, or ``link``."""
        return str(self.factors.get("split", self.factors.get("host", "link")))

    @functools.cached_property
    def key(self) -> str:
        """First 16 hex digits of a SHA-256 over every factor."""
        return hashlib.sha256(canonical(self.factors)).hexdigest()[:16]


@dataclass(frozen=True)
class More:
    """Further rounds that bring `splits` to `repeats` repeats; `why` each, if that is known."""

    splits: tuple[Cuts, ...]
    repeats: int
    why: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        said = {"why": [*self.why]} if self.why else {}
        return {"splits": [*map(listed, self.splits)], "repeats": self.repeats, **said}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> More:
        splits = tuple(map(unlisted, fields["splits"]))
        return cls(splits, fields["repeats"], tuple(fields.get("why", ())))


@dataclass(frozen=True)
class Work:
    """A plan's runs in order, and the functions that measure them.

    `document` is the plan as recorded. `measure` runs in its own process and returns the record's
    measured part, `about` the part known beforehand. `estimate_s` is by split name. The first
    `repeats` rounds hold every split; `drift_limit` 0 repeats none. Every run needs `hub`'s agent,
    too. `more` adds further rounds, if any, at most `extensions` times. `likely` stand for runs
    that further rounds may bring. `note` is to be told before the runs, `why` with each; both may
    be empty. `accuracy` has what is to be recorded of it before them, beside what is.
    """

    kind: str
    document: dict[str, Any]
    runs: list[Run]
    measure: Callable[[Run, Keys, str], dict[str, Any]]
    about: Callable[[Run], dict[str, Any]]
    estimate_s: dict[str, float]
    shaped: bool = False
    repeats: int = 0
    drift_limit: float = 0.0
    hub: Worker | None = None
    more: Callable[[Sequence[Record]], Work | None] = lambda _records: None
    extensions: int = 0
    likely: Sequence[Run] = ()
    note: str = ""
    why: Callable[[Run], str] = lambda _run: ""
    accuracy: Callable[[Mapping[str, Record], Any], Iterator[Record]] = lambda *_: iter(())


def expand(
    plan: Plan, hop_bytes: Callable[[Cuts], list[int]], more: Sequence[More] = ()
) -> list[Run]:
    """Return every run in measuring order, independent of results so that a sweep can resume.

    Randomised complete blocks: each round has every split and end point once, shuffled, so that
    drift does not pass for a difference between splits. The same split opens and closes each round
    as sentinel. A doubtful plan has the rounds of `more` only, and the end points in the first.

    Parameters
    ----------
    plan : Plan
    hop_bytes : callable
        Payload bytes per batch and hop for given cut points.
    more : sequence of More
        Further rounds, without end points unless the plan is doubtful.
    """
    runs: list[Run] = []

    def add(cuts: Cuts, repeat: int, role: Role) -> None:
        runs.append(run_of(plan, hop_bytes, cuts, repeat, len(runs), role))

    for repeat, splits in enumerate(_rounds(plan, more), start=1):
        ends = end_points(plan) if repeat <= (1 if plan.doubtful else plan.repeats) else ()
        if plan.sentinel:
            add(sentinel_cuts(plan), repeat, "open")
        for cuts in shuffled(plan.seed, plan.cell_id, repeat, [*splits, *ends]):
            add(cuts, repeat, "end_point" if cuts in ends else "split")
        if plan.sentinel:
            add(sentinel_cuts(plan), repeat, "close")
    return runs


def shuffled(seed: int, cell_id: str, repeat: int, members: Sequence[Member]) -> list[Member]:
    """Return `members` in a random order seeded per repeat."""
    order = list(members)
    source = random.Random(f"{seed}|{cell_id}|{repeat}")  # nosec B311 # anyone may foretell it
    source.shuffle(order)
    return order


def end_points(plan: Plan) -> tuple[Cuts, ...]:
    """Return the cuts that put the whole model on the first and on the last host, if planned.

    The input is made on the first: stages before the last pass it on, with each of the codecs.
    """
    if not plan.end_points:
        return ()
    passed_on = (0,) * (len(plan.chain.workers) - 1)
    return ((), *(coded(passed_on, codec) for codec in plan.codecs))


def stages_of(plan: Plan) -> list[tuple[int, int]]:
    """Return the blocks [first, end) of every stage that a plan's runs or its probes load."""
    blocks = model_info(plan.workload.model).blocks
    ranges = {stage for cuts in [(), *plan.splits] for stage in stage_ranges(cuts, blocks)}
    return sorted(ranges)


def sentinel_cuts(plan: Plan) -> Cuts:
    """Return the middle split: blocks on every host, moderate traffic.

    Of the first codec, so that others beside it leave a round its sentinel.
    """
    splits = sorted(cuts for cuts in plan.splits if codec_of(cuts) == plan.codecs[0])
    return splits[len(splits) // 2]


def _rounds(plan: Plan, more: Sequence[More]) -> list[list[Cuts]]:
    """Return the splits of each round; a further one holds all of its entry's, to be comparable."""
    rounds = [] if plan.doubtful else [list(plan.splits) for _ in range(plan.repeats)]
    for further in more:
        have = Counter(cuts for splits in rounds for cuts in splits)
        lack = max(further.repeats - have[cuts] for cuts in further.splits)
        rounds += [list(further.splits) for _ in range(lack)]
    return rounds


def run_of(
    plan: Plan,
    hop_bytes: Callable[[Cuts], list[int]],
    cuts: Cuts,
    repeat: int,
    order: int = 0,
    role: Role = "split",
) -> Run:
    """Return a split's run; slow links get fewer batches, long ones more in flight.

    A long link starts with ten segments a round trip and doubles (RFC 6928, RFC 5681). Before it
    carries its rate it has carried less than it holds, so one window of batches is enough to ramp.
    """
    chain, phases = plan.chain, plan.phases
    workers = chain.workers[: len(cuts) + 1]
    window = chain.window(phases.window, hop_bytes(cuts)) if phases.saturate else phases.window
    transfer_s = max(chain.transfers_s(hop_bytes(cuts)))
    affordable = TRANSFER_BUDGET_S / transfer_s if transfer_s else float("inf")
    warmup = max(1, int(min(phases.warmup, affordable)))
    latency = max(min(2, phases.latency), int(min(phases.latency, affordable)))
    wanted = phases.throughput
    ramp = 0
    if window > phases.window:  # completions are compared a window apart
        wanted = max(wanted, window + phases.throughput // 2)
        ramp = window
    throughput = ramp + max(min(window + 2, wanted), int(min(wanted, affordable)))
    codec = codec_of(cuts)
    said = {} if codec == NONE else {"codec": codec}
    whole = " ".join(["all on", workers[-1].host, *said.values()])
    factors = {
        **plan.workload.factors,
        **in_key(chain.variant, [worker.variant for worker in chain.workers], len(workers)),
        "pairing": plan.pairing,
        "hosts": [worker.host for worker in workers],
        "scenario": chain.scenario,
        **chain.asked,
        "cuts": list(cuts),
        **said,
        "split": whole if role == "end_point" else split_name(cuts),
        "repeat": repeat,
        "warmup_batches": warmup,
        "latency_batches": latency,
        "throughput_batches": throughput,
        "window": window,
        "input": "resident",
    }
    if chain.hub:
        factors["hub"] = chain.hub.host
    if role == "end_point":
        factors["role"] = role
    elif role != "split":
        factors.update(role="sentinel", sentinel=role)
    counts = warmup, latency, throughput
    return Run(cuts, workers, repeat, order, *counts, factors, role, window, ramp)
