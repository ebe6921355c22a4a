"""Pair cells that differ in one factor, split by split."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from paretopipe_runtime.contract import measures
from paretopipe_runtime.contract.factors import BACKEND, OBJECTIVES, Factor
from paretopipe_runtime.contract.measures import Figure
from reports.data.cells import Cell, Split, Spread
from reports.data.factors import phrase
from reports.data.selection import said
from reports.objectives import Objective
from reports.words import listing


@dataclass(frozen=True)
class Measure:
    column: str  # of the table of all attempts: one value a run
    label: str
    unit: str
    of: Callable[[Split], Spread | None]


@dataclass(frozen=True)
class Rival:
    cell: Cell
    name: str
    splits: tuple[Split | None, ...]  # in the reference's order; None: not comparable


@dataclass(frozen=True)
class Comparison:
    """A reference cell, its rivals in one factor, and their common splits."""

    factor: Factor
    cell: Cell
    name: str
    splits: tuple[Split, ...]
    rivals: tuple[Rival, ...]
    measures: tuple[Measure, ...]

    @property
    def columns(self) -> tuple[tuple[str, tuple[Split | None, ...]], ...]:
        return ((self.name, self.splits), *((rival.name, rival.splits) for rival in self.rivals))


def find(cells: Sequence[Cell], factor: Factor) -> list[Comparison]:
    """Return every comparison of measured cells, all else equal."""
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.measured:
            alike.setdefault(_all_but(cell, factor), []).append(cell)
    # One cell a kind: equal settings under two names are no comparison.
    kinds = [{phrase(factor, cell): cell for cell in reversed(group)} for group in alike.values()]
    found = (_comparison([*kind.values()][::-1], factor) for kind in kinds if len(kind) > 1)
    return [comparison for comparison in found if comparison.splits]


def unmatched(cells: Sequence[Cell], factor: Factor) -> list[str]:
    """Say which cells lack a counterpart under equal settings, and how they differ."""
    name = partial(phrase, factor)
    paired = {
        cell.id
        for found in find(cells, factor)
        for cell in (found.cell, *(rival.cell for rival in found.rivals))
    }
    lines = []
    for place, cell in enumerate(cells):
        # Report a mismatch once, at the later cell in reading order.
        others = [
            other
            for other in cells[:place]
            if other.measured and _place(other) == _place(cell) and name(other) != name(cell)
        ]
        if not cell.measured or cell.id in paired or not others:
            continue
        nearest = min(others, key=lambda other: len(_differences(cell, other, factor)))
        differing = listing(_differences(cell, nearest, factor) or ["no split was measured alike"])
        lines.append(
            f"{name(cell)} under {cell.scenario} ({cell.over_hosts}) is not compared "
            f"with {name(nearest)}, because more than that differs: {differing}."
        )
    return lines


def _comparison(group: Sequence[Cell], factor: Factor) -> Comparison:
    first, *others = group
    beside = [{split.cuts: split for split in other.measured} for other in others]
    splits = tuple(
        split
        for split in first.measured
        if any(_alike(split, known.get(split.cuts)) for known in beside)
    )
    name = partial(phrase, factor)
    return Comparison(
        factor=factor,
        cell=first,
        name=name(first),
        splits=splits,
        rivals=tuple(
            Rival(other, name(other), tuple(_alike(s, known.get(s.cuts)) for s in splits))
            for other, known in zip(others, beside, strict=True)
        ),
        measures=tuple(_measures(factor, first)),
    )


def _alike(split: Split, other: Split | None) -> Split | None:
    """Return the other split if its runs had as many batches: fewer fill the pipeline less."""
    return other if other and other.phases == split.phases else None


def _all_but(cell: Cell, factor: Factor) -> str:
    rest = {key: value for key, value in cell.settings.items() if key not in _part_of(factor)}
    return json.dumps(rest, sort_keys=True)


def _part_of(factor: Factor) -> set[str]:
    # The hub's host is part of the hub backend.
    return {factor.key, "hub"} if factor is BACKEND else {factor.key}


def _place(cell: Cell) -> tuple[str, str, str]:
    return cell.model, cell.pairing, cell.scenario


def _differences(one: Cell, other: Cell, factor: Factor) -> list[str]:
    keys = sorted((one.settings.keys() | other.settings.keys()) - _part_of(factor))
    return [
        f"{key.replace('_', ' ')} {said(one.settings, key)} against {said(other.settings, key)}"
        for key in keys
        if one.settings.get(key) != other.settings.get(key)
    ]


def _measures(factor: Factor, cell: Cell) -> Iterator[Measure]:
    """Yield a factor's measures: the run's objectives and each stage's figures."""
    for name in factor.compared:
        if name == OBJECTIVES:
            for one in cell.objectives:
                yield Measure(one.figure, one.name, one.unit, partial(_own, one))
            continue
        figure = measures.named(name)
        for place, host in enumerate(cell.hosts):
            label = f"{figure.label} of stage {place + 1} ({host})"
            column = f"stage{place + 1}_{figure.name}"
            yield Measure(column, label, figure.shown_unit, partial(_of_stage, figure, place))


def _own(objective: Objective, split: Split) -> Spread | None:
    return split.own.of(objective)


def _of_stage(figure: Figure, place: int, split: Split) -> Spread | None:
    value = split.stages[place][figure.name]
    return value.scaled(figure.shown) if value else None
