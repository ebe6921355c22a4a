"""Cells and their splits: medians with ranges, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from paretopipe_runtime.contract.lines import Record
from reports import paper
from reports.data import plans
from reports.data.drifts import Drift as Drift
from reports.data.drifts import drifts
from reports.data.groups import Groups, Key
from reports.data.groups import Spread as Spread
from reports.data.groups import spread as spread
from reports.data.kinds import variant_rank
from reports.data.reduce import END_POINT, SPLIT
from reports.data.selection import bases, settings
from reports.data.tidy import scenario_name, split_name
from reports.objectives import OBJECTIVES, Objective
from reports.words import pairing_rank, slug

Cuts = tuple[int, ...]


@dataclass(frozen=True)
class Stage:
    """What one stage of a split took on its host."""

    host: str
    compute_s: Spread | None
    cpu_percent: Spread | None  # of one core, by the stage's process
    load_s: Spread | None
    partition_bytes: Spread | None
    baseline_rss_bytes: Spread | None
    peak_rss_bytes: Spread | None
    allocator: str  # empty where the records do not say
    device: str = ""  # "cpu", "cuda", "cuda:1"; empty where the records do not say
    gpu_percent: Spread | None = None
    gpu_used_bytes: Spread | None = None  # of the GPU's memory, by the stage's process
    gpu_others: Spread | None = None  # processes seen on the GPU beside it
    gpu_copy_in_s: Spread | None = None  # of compute_s: the batch's way to the GPU, and back
    gpu_copy_out_s: Spread | None = None
    host_cpu_percent: Spread | None = None  # of all cores, by everything on the host
    host_memory_percent: Spread | None = None


@dataclass(frozen=True)
class Split:
    """One way to cut the model, with everything measured about it."""

    name: str
    cuts: Cuts
    row_id: str
    cut_blocks: tuple[tuple[str, str], ...]  # last block before and first after each cut
    figures: Mapping[str, Spread]  # of the objectives, as far as they were measured
    steady_img_s: Spread | None
    network_s: Spread | None
    stages: tuple[Stage, ...]
    hops: tuple[tuple[str, Spread | None], ...]  # between stages: label, bytes per batch
    phases: tuple[str, ...]  # batches to warm up, for latency, for throughput
    attempts: int
    invalid: int  # of the attempts: those that failed or may not count, whatever came of a rerun
    # By figure one value a counted run, and the `repeat` of each.
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def runs(self) -> int:
        """How many runs the medians stand on."""
        return max((value.n for value in self.figures.values()), default=0)

    def of(self, objective: Objective) -> Spread | None:
        """Return what was measured of an objective."""
        return self.figures.get(objective.figure)

    def median(self, objective: Objective) -> float:
        """Return the median of an objective that was measured."""
        return self.figures[objective.figure].median

    def rank(self, *objectives: Objective) -> tuple[float, ...]:
        """Return what sorts the best split first, by the first objective, then by the next."""
        return tuple(self.median(o) if o.lower else -self.median(o) for o in objectives)

    def loss(self, objective: Objective, best: Split) -> float:
        """Return by how much less, as a ratio - 1, this split is than another: 0.28 for 28 %."""
        return objective.gain(best.median(objective), self.median(objective)) - 1


@dataclass(frozen=True)
class Cell:
    """A model, how it is computed and moved, on which hosts, over which network; and its splits."""

    id: str
    model: str
    backend: str
    engine: str
    allocators: tuple[str, ...]  # of each stage; empty where the records do not say
    pairing: str
    hosts: tuple[str, ...]
    scenario: str
    asked: dict[str, Any] | None
    settings: Record  # the factors that every run counted here shares
    unlocked: bool  # whether a backend without authentication was open while it was measured
    plan: Record
    splits: tuple[Split, ...]
    planned: tuple[Cuts, ...]
    end_points: tuple[Split, ...] = ()  # all on the first host: cuts (); all on the last: (0,)
    drifts: tuple[Drift, ...] = ()  # of every pass of every block that has sentinels
    devices: tuple[str, ...] = ()  # of each stage; empty where all computed on the CPU
    transport: str = "plain"  # what the records do not name was plain
    emulation: str = ""  # what the hosts are; empty where they are hosts

    @property
    def measured(self) -> tuple[Split, ...]:
        """The splits with at least one counted run."""
        return tuple(split for split in self.splits if split.runs)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The objectives that every counted run has a positive number of."""
        done = [split for split in (*self.splits, *self.end_points) if split.runs]

        def whole(objective: Objective) -> bool:
            known = zip([split.of(objective) for split in done], done, strict=True)
            return bool(done) and all(v and v.n == s.runs and v.low > 0 for v, s in known)

        return tuple(one for one in OBJECTIVES if one.required or whole(one))

    def best(self, objective: Objective) -> Split:
        """Return the measured split with the best median; of equal ones the better otherwise."""
        rest = [other for other in self.objectives if other is not objective]
        return min(self.measured, key=lambda split: (split.rank(objective, *rest), split.cuts))

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the planned splits that have no counted run."""
        return tuple(
            split.name for split in self.splits if split.cuts in self.planned and not split.runs
        )


def build(lines: Sequence[Record], runs: Sequence[Record], frame: pd.DataFrame) -> list[Cell]:
    """Return a cell for every plan and every run seen, in the paper's order."""
    proposed: dict[str, list[Record]] = {}
    for line in lines:
        proposed.setdefault(line["plan"]["cell_id"], []).append(line["plan"])
    measured, groups, shifts = bases(runs), Groups(frame), drifts(frame)
    blocks = {run["factors"].get("model"): end for run in runs if (end := run["end_block"])}
    cells = [
        _cell(cell_id, proposed.get(cell_id, []), measured.get(cell_id), blocks, groups)
        for cell_id in sorted({*proposed, *measured})
    ]
    cells = [replace(cell, drifts=shifts.get(cell.id, ())) for cell in cells]
    return sorted(cells, key=_rank)


def _rank(cell: Cell) -> tuple[Any, ...]:
    # The undisturbed network first: everything else is read against it.
    conditioned = cell.asked is not None
    variant = variant_rank(cell.backend, cell.transport, cell.engine, cell.allocators)
    place = (pairing_rank(cell.pairing), conditioned, cell.scenario)
    return (cell.model, cell.emulation, *variant, cell.devices, *place)


def _cell(
    cell_id: str,
    proposed: Sequence[Record],
    basis: Record | None,
    blocks: dict[Any, int],
    groups: Groups,
) -> Cell:
    factors = settings(basis) if basis else {}
    plan = plans.in_force(proposed, factors)
    # What was measured, where anything was; the plan's intention before that.
    known = {**plan, **factors}
    model = str(known.get("model"))
    scenario = plan.get("scenario") or factors.get("scenario")
    netem = scenario.get("netem") if isinstance(scenario, dict) else None
    splits = [_split(groups, key) for key in groups.of(cell_id, SPLIT)]
    planned = plans.cuts(plan, blocks.get(model) or paper.block_count(model))
    seen = {split.cuts for split in splits}
    # A planned split without a record gets a row that says so, not no row.
    splits += [_split(groups, (cell_id, SPLIT, _dashed(c))) for c in planned if c not in seen]
    ends = (_split(groups, key) for key in groups.of(cell_id, END_POINT))
    return Cell(
        id=cell_id,
        model=model,
        backend=str(known.get("backend")),
        transport=str(known.get("transport") or "plain"),
        emulation=str(known.get("emulation") or ""),
        engine=str(known.get("engine") or "eager"),
        allocators=plans.allocators(plan, factors),
        devices=plans.devices(plan, factors),
        pairing=str(known.get("pairing")),
        hosts=plans.hosts(plan, factors),
        scenario=scenario_name(scenario),
        asked=factors.get("netem", netem),
        settings=factors,
        unlocked=groups.unlocked(cell_id),
        plan=plan,
        splits=tuple(sorted(splits, key=lambda split: split.cuts)),
        planned=planned,
        end_points=tuple(sorted(ends, key=lambda split: split.cuts)),
    )


def _split(groups: Groups, key: Key) -> Split:
    cell_id, _, dashed = key
    cuts = tuple(int(cut) for cut in dashed.split("-") if cut)
    name = groups.first(key, "split") or split_name({"cuts": cuts})
    stages = range(1, len(cuts) + 2)
    return Split(
        name=name,
        cuts=cuts,
        row_id=f"row-{slug(cell_id)}-{slug(name)}",
        cut_blocks=tuple(
            (
                groups.first(key, f"stage{k}_last_block") or "?",
                groups.first(key, f"stage{k + 1}_first_block") or "?",
            )
            for k in stages[:-1]
        ),
        figures=groups.figures(key),
        steady_img_s=groups.spread(key, "throughput_steady_img_s"),
        network_s=groups.spread(key, "network_s"),
        stages=tuple(_stage(groups, key, k) for k in stages),
        hops=tuple(
            (_hop(groups, key, k), groups.spread(key, f"hop{k}_bytes_per_batch"))
            for k in stages[:-1]
        ),
        phases=groups.phases(key),
        attempts=groups.attempts(key),
        invalid=groups.invalid(key),
        values=groups.values(key),
    )


def _stage(groups: Groups, key: Key, number: int) -> Stage:
    name = f"stage{number}"
    return Stage(
        host=groups.first(key, f"{name}_host") or "?",
        compute_s=groups.spread(key, f"{name}_compute_s"),
        cpu_percent=groups.spread(key, f"{name}_cpu_percent"),
        load_s=groups.spread(key, f"{name}_load_s"),
        partition_bytes=groups.spread(key, f"{name}_partition_bytes"),
        baseline_rss_bytes=groups.spread(key, f"{name}_baseline_rss_bytes"),
        peak_rss_bytes=groups.spread(key, f"{name}_peak_rss_bytes"),
        allocator=groups.first(key, f"{name}_allocator") or "",
        device=groups.first(key, f"{name}_device") or "",
        gpu_percent=groups.spread(key, f"{name}_gpu_percent"),
        gpu_used_bytes=groups.spread(key, f"{name}_gpu_used_bytes"),
        gpu_others=groups.spread(key, f"{name}_gpu_others"),
        gpu_copy_in_s=groups.spread(key, f"{name}_gpu_copy_in_s"),
        gpu_copy_out_s=groups.spread(key, f"{name}_gpu_copy_out_s"),
        host_cpu_percent=groups.spread(key, f"{name}_host_cpu_percent"),
        host_memory_percent=groups.spread(key, f"{name}_host_memory_percent"),
    )


def _hop(groups: Groups, key: Key, number: int) -> str:
    start, via, end = (groups.first(key, f"hop{number}_{at}") for at in ("from", "via", "to"))
    return " → ".join([start or "?", *([via] if via else []), end or "?"])


def _dashed(cuts: Cuts) -> str:
    return "-".join(map(str, cuts))
