"""Cells that differ in one thing only, and what there is to compare of them, split by split."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from reports.data.cells import Cell, Split, Spread, Stage
from reports.data.kinds import (
    allocators_name,
    backend_name,
    devices_name,
    engine_name,
    transport_name,
)
from reports.data.selection import said
from reports.words import listing, pairing_name, slug

# What a comparison is by, and what each kind of it is called.
NAMES: dict[str, Callable[[Cell], str]] = {
    "backend": lambda cell: backend_name(cell.backend),
    "transport": lambda cell: transport_name(cell.transport),
    "engine": lambda cell: engine_name(cell.engine),
    "allocators": lambda cell: allocators_name(cell.allocators, cell.hosts),
    "devices": lambda cell: devices_name(cell.devices, cell.hosts),
}


@dataclass(frozen=True)
class Measure:
    """One thing to compare."""

    key: str
    label: str
    unit: str
    of: Callable[[Split], Spread | None]
    column: str  # of the table of all attempts: one value a run


@dataclass(frozen=True)
class Rival:
    """One cell set against the reference."""

    cell: Cell
    name: str
    splits: tuple[Split | None, ...]  # beside the reference's; None: not measured alike


@dataclass(frozen=True)
class Comparison:
    """A reference cell, the cells that differ from it in one factor, and their common splits."""

    factor: str
    cell: Cell
    name: str
    splits: tuple[Split, ...]
    rivals: tuple[Rival, ...]
    measures: tuple[Measure, ...]

    @property
    def columns(self) -> tuple[tuple[str, tuple[Split | None, ...]], ...]:
        """The reference and its rivals by name, each with its splits."""
        return ((self.name, self.splits), *((rival.name, rival.splits) for rival in self.rivals))


def find(cells: Sequence[Cell], factor: str) -> list[Comparison]:
    """Return every comparison that these cells allow: all else equal, and measured."""
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.measured:
            alike.setdefault(_all_but(cell, factor), []).append(cell)
    # One cell of a kind: the same settings under two names would be compared with themselves.
    kinds = [{NAMES[factor](cell): cell for cell in reversed(group)} for group in alike.values()]
    found = (_comparison([*kind.values()][::-1], factor) for kind in kinds if len(kind) > 1)
    return [comparison for comparison in found if comparison.splits]


def apart(cells: Sequence[Cell], factor: str) -> list[str]:
    """Say which cells have no counterpart under equal settings, and what differs."""
    name = NAMES[factor]
    paired = {
        cell.id
        for found in find(cells, factor)
        for cell in (found.cell, *(rival.cell for rival in found.rivals))
    }
    told = []
    for place, cell in enumerate(cells):
        # Of a pair that does not match, the later one in the reader's order tells.
        others = [
            other
            for other in cells[:place]
            if other.measured and _place(other) == _place(cell) and name(other) != name(cell)
        ]
        if not cell.measured or cell.id in paired or not others:
            continue
        nearest = min(others, key=lambda other: len(_differences(cell, other, factor)))
        differing = listing(_differences(cell, nearest, factor) or ["no split was measured alike"])
        told.append(
            f"{name(cell)} under {cell.scenario} ({pairing_name(cell.pairing)}) is not compared "
            f"with {name(nearest)}, because more than that differs: {differing}."
        )
    return told


def _comparison(group: Sequence[Cell], factor: str) -> Comparison:
    first, *others = group
    beside = [{split.cuts: split for split in other.measured} for other in others]
    splits = tuple(
        split
        for split in first.measured
        if any(_alike(split, known.get(split.cuts)) for known in beside)
    )
    name = NAMES[factor]
    return Comparison(
        factor=factor,
        cell=first,
        name=name(first),
        splits=splits,
        rivals=tuple(
            Rival(other, name(other), tuple(_alike(s, known.get(s.cuts)) for s in splits))
            for other, known in zip(others, beside, strict=True)
        ),
        measures=MEASURES[factor](first),
    )


def _alike(split: Split, other: Split | None) -> Split | None:
    """Return the other split if its runs had as many batches: fewer fill the pipe less well."""
    return other if other and other.phases == split.phases else None


def _all_but(cell: Cell, factor: str) -> str:
    rest = {key: value for key, value in cell.settings.items() if key not in _part_of(factor)}
    return json.dumps(rest, sort_keys=True)


def _part_of(factor: str) -> set[str]:
    # Which host is the hub is part of what the backend through it is.
    return {factor, "hub"} if factor == "backend" else {factor}


def _place(cell: Cell) -> tuple[str, str, str]:
    return cell.model, cell.pairing, cell.scenario


def _differences(one: Cell, other: Cell, factor: str) -> list[str]:
    keys = sorted((one.settings.keys() | other.settings.keys()) - _part_of(factor))
    return [
        f"{key.replace('_', ' ')} {said(one.settings, key)} against {said(other.settings, key)}"
        for key in keys
        if one.settings.get(key) != other.settings.get(key)
    ]


def _whole(cell: Cell) -> tuple[Measure, ...]:
    return tuple(
        Measure(slug(one.name), one.name, one.unit, partial(Split.of, objective=one), one.figure)
        for one in cell.objectives
    )


def _computes(cell: Cell) -> tuple[Measure, ...]:
    return tuple(_compute(index, host) for index, host in enumerate(cell.hosts))


def _compute(index: int, host: str) -> Measure:
    stage = f"stage{index + 1}"
    label = f"compute time of stage {index + 1} ({host})"
    return Measure(
        *(stage, label, "s"), lambda split: split.stages[index].compute_s, f"{stage}_compute_s"
    )


def _memory(index: int, host: str) -> Measure:
    label = f"peak memory of stage {index + 1} ({host})"
    return Measure(
        *(f"memory{index + 1}", label, "MiB"),
        *(lambda split: _mebibytes(split.stages[index]), f"stage{index + 1}_peak_rss_bytes"),
    )


def _mebibytes(stage: Stage) -> Spread | None:
    value = stage.peak_rss_bytes
    if value is None:
        return None
    return Spread(value.median / 2**20, value.low / 2**20, value.high / 2**20, value.n)


MEASURES: dict[str, Callable[[Cell], tuple[Measure, ...]]] = {
    "backend": _whole,
    "transport": _whole,
    "engine": _computes,
    "devices": lambda cell: (*_whole(cell), *_computes(cell)),
    "allocators": lambda cell: (
        *_computes(cell),
        *(_memory(index, host) for index, host in enumerate(cell.hosts)),
    ),
}
