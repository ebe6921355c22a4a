"""Peak memory of each stage against its weights and an empty process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paretopipe_runtime.contract.factors import ALLOCATOR
from reports import paper
from reports.data.cells import Cell, Split, Stage
from reports.data.factors import unrecorded
from reports.page.figures import mebibytes
from reports.page.sheet import Section, Sheet
from reports.page.tables import Column, Entry, Row, Table
from reports.words import number, pairing_name, slug


def build(sheet: Sheet) -> list[Section]:
    found = [
        {
            "title": ", ".join(
                (paper.model_name(cell.model), pairing_name(cell.pairing), cell.scenario)
            ),
            # The allocator has a column of its own.
            "over": sheet.naming.without(ALLOCATOR).over(cell),
            "whole": f"{paper.model_name(cell.model)}, {sheet.naming.place(cell)}",
            "unlocked": cell.unlocked,
            "worst": worst(cell),
            "table": table(cell),
        }
        for cell in sheet.cells
        if known(cell)
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


def held(stage: Stage) -> Held | None:
    """Return a stage's memory; None where incomplete."""
    partition, baseline, peak = (
        stage["partition_bytes"],
        stage["baseline_rss_bytes"],
        stage["peak_rss_bytes"],
    )
    if partition is None or not baseline or not peak:
        return None
    return Held(partition.median, baseline.median, peak.median)


def known(cell: Cell) -> bool:
    return any(held(stage) for split in cell.measured for stage in split.stages)


def worst(cell: Cell) -> list[Worst]:
    found = []
    for index in range(max((len(split.stages) for split in cell.measured), default=0)):
        values = [
            (value, split)
            for split in cell.measured
            if index < len(split.stages) and (value := held(split.stages[index]))
        ]
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
    stages: Sequence[Stage] = cell.measured[0].stages
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
            on_front=False,
            entries=tuple(
                entry
                for index in range(len(stages))
                for entry in _entries(held(split.stages[index]) if _has(split, index) else None)
            ),
        )
        for split in (*cell.measured, *ends)
    ]
    return Table(tuple(columns), tuple(rows))


def _has(split: Split, index: int) -> bool:
    # Unsplit on the first host: no second stage.
    return index < len(split.stages)


def _entries(value: Held | None) -> tuple[Entry, ...]:
    if value is None:
        return (Entry("–", ""),) * 4
    sizes = map(mebibytes, (value.partition, value.baseline, value.peak))
    # Sorted as printed: full digits would be an eighth of a large page.
    return tuple(Entry(text, text.replace(",", "")) for text in (*sizes, number(value.ratio)))
