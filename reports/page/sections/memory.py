"""Peak memory of each stage against its weights and an empty process."""

from __future__ import annotations

from dataclasses import dataclass

from paretopipe_runtime.contract.factors import ALLOCATOR
from reports import paper
from reports.data.cells import Cell, Split
from reports.data.factors import unrecorded
from reports.page.figures import mebibytes
from reports.page.sheet import Section, Sheet
from reports.page.tables import NOTHING, Column, Entry, Row, Table, plain
from reports.words import number, slug


def build(sheet: Sheet) -> list[Section]:
    found = [
        {
            "title": ", ".join((paper.model_name(cell.model), cell.over_hosts, cell.scenario)),
            # The allocator has a column of its own.
            "over": sheet.naming.without(ALLOCATOR).over(cell),
            "whole": f"{paper.model_name(cell.model)}, {sheet.naming.place(cell)}",
            "unlocked": cell.unlocked,
            "worst": hungriest,
            "table": table(cell),
        }
        for cell in sheet.cells
        if (hungriest := worst(cell))
    ]
    if not found:
        return []
    return [{"id": "memory", "title": "Memory", "memory": found}]


@dataclass(frozen=True)
class Held:
    """A stage's memory at a split: medians in bytes."""

    partition: float
    baseline: float
    peak: float

    @property
    def ratio(self) -> float:
        """Peak over weights plus an empty process."""
        return self.peak / (self.partition + self.baseline)


@dataclass(frozen=True)
class Worst:
    """The split of a stage's highest peak."""

    stage: str
    allocator: str
    split: Split
    held: Held
    highest: float  # highest ratio, and its split
    highest_at: str


def held(split: Split, index: int) -> Held | None:
    """Return a stage's memory; None where incomplete, or where unsplit there is no such stage."""
    if index >= len(split.stages):
        return None
    sizes = ("partition_bytes", "baseline_rss_bytes", "peak_rss_bytes")
    partition, baseline, peak = (split.stages[index][size] for size in sizes)
    if partition is None or not baseline or not peak:
        return None
    return Held(partition.median, baseline.median, peak.median)


def worst(cell: Cell) -> list[Worst]:
    found = []
    for index in range(max((len(split.stages) for split in cell.measured), default=0)):
        values = [(value, split) for split in cell.measured if (value := held(split, index))]
        if values:
            most, split = max(values, key=lambda pair: (pair[0].peak, pair[1].cuts))
            high, at = max(values, key=lambda pair: (pair[0].ratio, pair[1].cuts))
            stage = split.stages[index]
            found.append(
                Worst(
                    stage=f"stage {index + 1}, {stage.host}",
                    allocator=ALLOCATOR.word(stage.allocator)
                    if stage.allocator
                    else unrecorded(ALLOCATOR),
                    split=split,
                    held=most,
                    highest=high.ratio,
                    highest_at=at.name,
                )
            )
    return found


def table(cell: Cell) -> Table:
    stages = cell.measured[0].stages
    ends = [split for split in cell.end_points if split.runs]
    columns = [Column("Split", "")]
    for index, stage in enumerate(stages, start=1):
        unit = f"MiB, {stage.host}"
        columns += [
            Column(f"Stage {index} weights", unit),
            Column("Empty process", unit),
            Column("Peak", unit),
            Column("Peak / (weights + empty)", ""),
        ]
    rows = [
        Row(
            id=f"memory-{slug(cell.id)}-{slug(split.name)}",
            name=split.name,
            entries=tuple(
                entry for index in range(len(stages)) for entry in _entries(held(split, index))
            ),
        )
        for split in (*cell.measured, *ends)
    ]
    return Table(tuple(columns), tuple(rows))


def _entries(value: Held | None) -> tuple[Entry, ...]:
    if value is None:
        return (NOTHING,) * 4
    sizes = map(mebibytes, (value.partition, value.baseline, value.peak))
    return tuple(map(plain, (*sizes, number(value.ratio))))
