"""The table behind each chart, a row a split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from paretopipe_runtime.contract.measures import FIGURES, Figure, named
from paretopipe_runtime.contract.splits import dashed
from reports.data.cells import Cell, Split, Spread
from reports.data.reduce import END_POINT, SPLIT
from reports.objectives import Objective
from reports.page.figures import SIGNS, VERDICTS, against, point_id, said, spread
from reports.statistics.judge import Judgement
from reports.words import number


@dataclass(frozen=True)
class Column:
    """A heading with unit; ``numeric`` aligns right."""

    label: str
    unit: str
    numeric: bool = True


@dataclass(frozen=True)
class Entry:
    """Printed text and sort key (empty: unmeasured)."""

    text: str
    value: str


@dataclass(frozen=True)
class Row:
    """A split; ``point`` is its chart point's id, or empty."""

    id: str
    name: str
    on_front: bool  # or undecided: kept by the front filter
    entries: tuple[Entry, ...]
    point: str = ""


@dataclass(frozen=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


_SHOWN = [figure for figure in FIGURES if figure.heading]
Valid = Mapping[tuple[str, str, str], int]  # by cell id, role and dashed cuts


def build(cell: Cell, judgement: Judgement, valid: Valid) -> Table:
    """Return a cell's splits; hosts and hops name columns."""
    columns = [
        Column("Split", ""),
        Column("Front", "probability", numeric=False),
        Column("Strict front", "as in the paper", numeric=False),
        Column("Cut between blocks", "", numeric=False),
    ]
    model = next(iter(cell.measured), next(iter(cell.splits), None))
    hosts = [stage.host for stage in model.stages] if model else []
    hops = [hop for hop, _ in model.hops] if model else []
    for figure in _SHOWN:
        heading, unit = figure.heading, [figure.shown_unit] * bool(figure.shown_unit)
        if figure.of == "run":
            columns.append(Column(heading, "".join(unit)))
        elif figure.of == "hop":
            columns += [Column(heading, ", ".join([*unit, hop])) for hop in hops]
        else:
            columns += [
                Column(f"Stage {k} {heading}", ", ".join([*unit, host]))
                for k, host in enumerate(hosts, start=1)
            ]
    columns.append(Column("Runs", "counted / valid / attempted"))
    rows = tuple(_row(split, judgement, cell, valid) for split in cell.splits)
    return Table(tuple(columns), rows)


def end_points(cell: Cell, valid: Valid) -> Table:
    """Return the table of unsplit runs."""
    columns = (
        Column("Not split", ""),
        *map(objective_column, cell.objectives),
        Column("Compute", "s, all stages"),
        Column("Network", "s"),
        Column("Runs", "counted / valid / attempted"),
    )
    return Table(
        columns,
        tuple(
            Row(
                end.row_id,
                end.name,
                False,
                (
                    *(_entry(named(one.figure), end.of(one)) for one in cell.objectives),
                    _compute(end),
                    _entry(named("network_s"), end["network_s"]),
                    _runs(end, valid[cell.id, END_POINT, dashed(end.cuts)]),
                ),
            )
            for end in cell.end_points
        ),
    )


def objective_column(objective: Objective) -> Column:
    return Column(objective.heading, objective.unit)


def with_points(table: Table, drawn: frozenset[str]) -> Table:
    """Link drawn rows back to their chart points."""
    rows = (
        Row(row.id, row.name, row.on_front, row.entries, point_id(row.id))
        if row.id in drawn
        else row
        for row in table.rows
    )
    return Table(table.columns, tuple(rows))


def _row(split: Split, judgement: Judgement, cell: Cell, valid: Valid) -> Row:
    known = split.runs > 0
    blocks = "; ".join(f"{before} → {after}" for before, after in split.cut_blocks if known)
    # By position: as text, features.10 sorts before features.2.
    place = ".".join(f"{cut:04d}" for cut in split.cuts)
    strict = split.cuts in judgement.strict
    entries = (
        _front(split, judgement, cell),
        Entry("yes" if strict else "–", "0" if strict else "1"),
        Entry(blocks or "–", place),
        *(entry for figure in _SHOWN for entry in _entries(figure, split)),
        _runs(split, valid[cell.id, SPLIT, dashed(split.cuts)], split.cuts in judgement.unreliable),
    )
    member = known and judgement.verdict[split.cuts] != "off"
    return Row(split.row_id, split.name, member, entries)


def _entries(figure: Figure, split: Split) -> list[Entry]:
    """Return a figure's entries: one, or one a stage or hop."""
    if figure.of == "run":
        values = [split[figure.name]]
    elif figure.of == "hop":
        values = [size for _, size in split.hops]
    else:
        values = [stage[figure.name] for stage in split.stages]
    return [_entry(figure, value) for value in values]


def _front(split: Split, judgement: Judgement, cell: Cell) -> Entry:
    if not split.runs:
        return Entry("not measured", "")
    verdict = judgement.verdict[split.cuts]
    other = against(judgement, split, cell.measured)
    text = f"{SIGNS[verdict]} {said(judgement, split)}{', ' if other else ''}{other}"
    # On, then undecided, surest first.
    rank = VERDICTS.index(verdict) + 1 - judgement.membership.get(split.cuts, 0.0)
    return Entry(text, f"{rank:.4f}")


def _runs(split: Split, valid: int, unreliable: bool = False) -> Entry:
    doubt = ", unreliable" if unreliable else ""
    return Entry(f"{split.runs} / {valid} / {split.attempts}{doubt}", str(split.runs))


def _compute(split: Split) -> Entry:
    known = [value.median for stage in split.stages if (value := stage["compute_s"])]
    return _figure(number(sum(known))) if known else _NOTHING


_NOTHING = Entry("–", "")


def _entry(figure: Figure, value: Spread | None) -> Entry:
    if value is None:
        return _NOTHING
    shown = value.scaled(figure.shown)
    if figure.digits == "range":
        return Entry(spread(shown), f"{shown.median:.6g}")
    return _figure(f"{shown.median:,.0f}" if figure.digits == "whole" else number(shown.median))


def _figure(text: str) -> Entry:
    """Return a figure without a separate sort key, to save page size."""
    return Entry(text, text.replace(",", ""))
