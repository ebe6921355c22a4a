"""Cells and their splits: medians with ranges, what is missing, and who is on the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from reports import paper
from reports.data import plans
from reports.data.kinds import variant_rank
from reports.data.records import Record
from reports.data.selection import PHASES, bases, settings
from reports.data.tidy import scenario_name, split_name
from reports.statistics.pareto import front
from reports.words import pairing_rank, slug

Cuts = tuple[int, ...]


@dataclass(frozen=True)
class Spread:
    """The median of n runs with the lowest and the highest of them."""

    median: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Stage:
    """What one stage of a split took on its host."""

    host: str
    compute_s: Spread | None
    cpu_percent: Spread | None
    load_s: Spread | None
    partition_bytes: Spread | None
    baseline_rss_bytes: Spread | None
    peak_rss_bytes: Spread | None
    allocator: str  # empty where the records do not say


@dataclass(frozen=True)
class Split:
    """One way to cut the model, with everything measured about it."""

    name: str
    cuts: Cuts
    row_id: str
    cut_blocks: tuple[tuple[str, str], ...]  # last block before and first after each cut
    latency_s: Spread | None
    throughput_img_s: Spread | None
    steady_img_s: Spread | None
    network_s: Spread | None
    stages: tuple[Stage, ...]
    hops: tuple[tuple[str, Spread | None], ...]  # between stages: label, bytes per batch
    phases: tuple[str, ...]  # batches to warm up, for latency, for throughput
    attempts: int
    on_front: bool

    @property
    def runs(self) -> int:
        """How many runs the medians stand on."""
        return self.latency_s.n if self.latency_s else 0

    @property
    def latency(self) -> float:
        """The median latency in seconds of a measured split."""
        return _middle(self.latency_s)

    @property
    def throughput(self) -> float:
        """The median throughput in images per second of a measured split."""
        return _middle(self.throughput_img_s)


@dataclass(frozen=True)
class Cell:
    """Model, backend, engine, allocators, pairing and scenario, with the splits seen in it."""

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

    @property
    def measured(self) -> tuple[Split, ...]:
        """The splits with at least one counted run."""
        return tuple(split for split in self.splits if split.runs)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the planned splits that have no counted run."""
        return tuple(
            split.name for split in self.splits if split.cuts in self.planned and not split.runs
        )

    @property
    def front(self) -> tuple[Split, ...]:
        """The strict front of medians, by latency."""
        members = (split for split in self.measured if split.on_front)
        return tuple(sorted(members, key=lambda split: (split.latency, split.cuts)))


def build(lines: Sequence[Record], runs: Sequence[Record], frame: pd.DataFrame) -> list[Cell]:
    """Return a cell for every plan and every run seen, in the paper's order."""
    proposed: dict[str, list[Record]] = {}
    for line in lines:
        proposed.setdefault(line["plan"]["cell_id"], []).append(line["plan"])
    measured = bases(runs)
    blocks = {run["factors"].get("model"): end for run in runs if (end := plans.end_block(run))}
    cells = [
        _cell(cell_id, proposed.get(cell_id, []), measured.get(cell_id), blocks, frame)
        for cell_id in sorted({*proposed, *measured})
    ]
    return sorted(cells, key=_rank)


def _rank(cell: Cell) -> tuple[Any, ...]:
    # The undisturbed network first: everything else is read against it.
    conditioned = cell.asked is not None
    variant = variant_rank(cell.backend, cell.engine, cell.allocators)
    return (cell.model, *variant, pairing_rank(cell.pairing), conditioned, cell.scenario)


def _cell(
    cell_id: str,
    proposed: Sequence[Record],
    basis: Record | None,
    blocks: dict[Any, int],
    frame: pd.DataFrame,
) -> Cell:
    factors = settings(basis) if basis else {}
    plan = plans.in_force(proposed, factors)
    # What was measured, where anything was; the plan's intention before that.
    known = {**plan, **factors}
    model = str(known.get("model"))
    scenario = plan.get("scenario") or factors.get("scenario")
    netem = scenario.get("netem") if isinstance(scenario, dict) else None
    rows = frame[frame["cell_id"] == cell_id]
    splits = [
        _split(cell_id, tuple(int(cut) for cut in str(text).split("-") if cut), part)
        for text, part in rows.groupby("cuts", sort=False)
    ]
    done = [split for split in splits if split.runs]
    marks = front([split.latency for split in done], [split.throughput for split in done])
    on_front = {split.cuts for split, mark in zip(done, marks, strict=True) if mark}
    planned = plans.cuts(plan, blocks.get(model) or paper.block_count(model))
    seen = {split.cuts for split in splits}
    # A planned split without a record gets a row that says so, not no row.
    splits += [_split(cell_id, cuts, rows.iloc[:0]) for cuts in planned if cuts not in seen]
    return Cell(
        id=cell_id,
        model=model,
        backend=str(known.get("backend")),
        engine=str(known.get("engine") or "eager"),
        allocators=plans.allocators(plan, factors),
        pairing=str(known.get("pairing")),
        hosts=plans.hosts(plan, factors),
        scenario=scenario_name(scenario),
        asked=factors.get("netem", netem),
        settings=factors,
        unlocked=bool(rows[rows["counted"]]["security"].eq("rpc-insecure").any()),
        plan=plan,
        splits=tuple(
            replace(split, on_front=split.cuts in on_front)
            for split in sorted(splits, key=lambda split: split.cuts)
        ),
        planned=planned,
    )


def _split(cell_id: str, cuts: Cuts, rows: pd.DataFrame) -> Split:
    counted = rows[rows["counted"]]
    name = split_name({"cuts": cuts}) if rows.empty else str(rows["split"].iloc[0])
    stages = range(1, len(cuts) + 2)
    # Neither a run that was never started nor one under other settings was an attempt at this.
    elsewhere = rows["excluded"].str.startswith(("skipped", "settings"))
    return Split(
        name=name,
        cuts=cuts,
        row_id=f"row-{slug(cell_id)}-{slug(name)}",
        cut_blocks=tuple(
            (_first(rows, f"stage{k}_last_block"), _first(rows, f"stage{k + 1}_first_block"))
            for k in stages[:-1]
        ),
        latency_s=spread(counted, "latency_s"),
        throughput_img_s=spread(counted, "throughput_img_s"),
        steady_img_s=spread(counted, "throughput_steady_img_s"),
        network_s=spread(counted, "network_s"),
        stages=tuple(
            Stage(
                _first(rows, f"stage{k}_host"),
                spread(counted, f"stage{k}_compute_s"),
                spread(counted, f"stage{k}_cpu_percent"),
                spread(counted, f"stage{k}_load_s"),
                spread(counted, f"stage{k}_partition_bytes"),
                spread(counted, f"stage{k}_baseline_rss_bytes"),
                spread(counted, f"stage{k}_peak_rss_bytes"),
                "" if (allocator := _first(rows, f"stage{k}_allocator")) == "?" else allocator,
            )
            for k in stages
        ),
        hops=tuple(
            (
                " → ".join(
                    place
                    for end in ("from", "via", "to")
                    if (place := _first(rows, f"hop{k}_{end}")) != "?" or end != "via"
                ),
                spread(counted, f"hop{k}_bytes_per_batch"),
            )
            for k in stages[:-1]
        ),
        phases=tuple(_first(counted, column) for column in PHASES),
        attempts=int((~elsewhere).sum()),
        on_front=False,
    )


def spread(rows: pd.DataFrame, column: str) -> Spread | None:
    """Return median, lowest and highest of a column, or None where nothing was measured."""
    if column not in rows:
        return None
    values = pd.to_numeric(rows[column], errors="coerce").dropna()
    if values.empty:
        return None
    return Spread(float(values.median()), float(values.min()), float(values.max()), len(values))


def _first(rows: pd.DataFrame, column: str) -> str:
    if column not in rows:
        return "?"
    values = rows[column].dropna()
    return "?" if values.empty else str(values.iloc[0])


def _middle(value: Spread | None) -> float:
    if value is None:
        raise ValueError("a split without counted runs has no median")
    return value.median
