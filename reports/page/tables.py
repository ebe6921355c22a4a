"""The table behind each chart: one row a split, everything measured, ready to print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reports.data.cells import Cell, Split, Spread
from reports.page.verdict import spread
from reports.words import number


@dataclass(frozen=True)
class Column:
    """A heading with its unit; ``numeric`` columns are right-aligned."""

    label: str
    unit: str
    numeric: bool = True


@dataclass(frozen=True)
class Entry:
    """What is printed, and the value to sort by (empty: nothing measured)."""

    text: str
    value: str


@dataclass(frozen=True)
class Row:
    """One split."""

    id: str
    name: str
    on_front: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Table:
    """All splits of one cell."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def build(cell: Cell) -> Table:
    """Return the table of a cell; hosts and hops name their own columns."""
    columns = [Column("Split", ""), Column("Pareto front", ""), Column("Cut between blocks", "")]
    columns += [
        Column("Latency", "s"),
        Column("Throughput", "images/s"),
        Column("Between completions", "images/s"),
    ]
    model = next(iter(cell.measured), next(iter(cell.splits), None))
    hosts = list(enumerate((stage.host for stage in model.stages) if model else (), start=1))
    hops = [hop for hop, _ in model.hops] if model else []
    columns += [Column(f"Stage {k} compute", f"s, {host}") for k, host in hosts]
    columns.append(Column("Network", "s"))
    columns += [Column("Sent per batch", f"MB, {hop}") for hop in hops]
    columns += [Column(f"Stage {k} CPU", f"%, {host}") for k, host in hosts]
    columns += [Column(f"Stage {k} peak memory", f"MiB, {host}") for k, host in hosts]
    columns.append(Column("Runs", "valid / tried"))
    rows = tuple(Row(s.row_id, s.name, s.on_front, tuple(_entries(s))) for s in cell.splits)
    return Table(tuple(columns), rows)


def _entries(split: Split) -> list[Entry]:
    """Return the entries after the name, in the order of the columns."""
    front = "◆ front" if split.on_front else ("–" if split.runs else "not measured")
    known = split.runs > 0
    blocks = "; ".join(f"{before} → {after}" for before, after in split.cut_blocks if known)
    # Block names sort like text: features.10 before features.2. The cut's place is meant.
    place = ".".join(f"{cut:04d}" for cut in split.cuts)
    return [
        Entry(front, "0" if split.on_front else "1"),
        Entry(blocks or "–", place),
        _entry(split.latency_s, spread),
        _entry(split.throughput_img_s, spread),
        _entry(split.steady_img_s, _plain),
        *(_entry(stage.compute_s, _plain) for stage in split.stages),
        _entry(split.network_s, _plain),
        *(_entry(size, _megabytes) for _, size in split.hops),
        *(_entry(stage.cpu_percent, _whole) for stage in split.stages),
        *(_entry(stage.peak_rss_bytes, _mebibytes) for stage in split.stages),
        Entry(f"{split.runs} / {split.attempts}", str(split.runs)),
    ]


def _entry(value: Spread | None, say: Callable[[Spread], str]) -> Entry:
    return Entry(say(value), repr(value.median)) if value else Entry("–", "")


def _plain(value: Spread) -> str:
    return number(value.median)


def _whole(value: Spread) -> str:
    return f"{value.median:,.0f}"


def _megabytes(value: Spread) -> str:
    return number(value.median / 1e6)


def _mebibytes(value: Spread) -> str:
    return f"{value.median / 2**20:,.0f}"
