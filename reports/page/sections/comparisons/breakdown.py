"""Each backend's batch time at its best throughput (the paper's Fig. 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports import paper
from reports.data.cells import Cell, Split, Spread
from reports.objectives import THROUGHPUT, Objective
from reports.page.draw import bars
from reports.page.figures import link, spread
from reports.page.sections.comparisons.compare import Comparison
from reports.words import count, percent, slug

_SAID = (
    "The paper, of its two Pis: with sockets, latency "
    f"{percent(paper.LESS_LATENCY_THAN_RPC)} lower and throughput "
    f"{percent(paper.MORE_THROUGHPUT_THAN_RPC)} higher than with its RPC."
)


@dataclass(frozen=True)
class Kind:
    """A backend at its split of highest throughput."""

    name: str
    split: Split
    runs: str


@dataclass(frozen=True)
class Quantity:
    label: str
    unit: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Breakdown:
    kinds: tuple[Kind, ...]
    lines: tuple[Quantity, ...]
    sentences: tuple[Markup, ...]
    chart: Markup
    paper: str  # the paper's finding, if it shows this case


def of(comparison: Comparison) -> Breakdown:
    cells = (comparison.cell, *(rival.cell for rival in comparison.rivals))
    splits = [cell.best(THROUGHPUT) for cell in cells]
    objectives = [o for o in comparison.cell.objectives if all(s.of(o) for s in splits)]
    names = [name for name, _ in comparison.columns]
    kinds = tuple(
        Kind(name, split, count(split.runs, "run"))
        for name, split in zip(names, splits, strict=True)
    )
    return Breakdown(
        kinds,
        tuple(_lines(comparison.cell, splits, objectives)),
        tuple(_against(kinds[0], other, objectives) for other in kinds[1:]),
        bars.parts(f"breakdown-{slug(comparison.cell.id)}", names, splits),
        _SAID if _shown(comparison.cell) else "",
    )


def _shown(cell: Cell) -> bool:
    return (cell.model, cell.pairing) == ("mobilenetv2", "pi_to_pi") and cell.asked is None


def _lines(cell: Cell, splits: Sequence[Split], objectives: Sequence[Objective]) -> list[Quantity]:
    def line(label: str, unit: str, value: Callable[[Split], Spread | None]) -> Quantity:
        return Quantity(label, unit, tuple(spread(value(split)) for split in splits))

    stages = list(enumerate(cell.hosts))
    return [
        *(line(f"Stage {k + 1} compute, {host}", "s", _compute(k)) for k, host in stages),
        line("Network, all hops", "s", lambda split: split["network_s"]),
        *(line(f"Stage {k + 1} CPU, {host}", "%", _cpu(k)) for k, host in stages),
        *(
            Quantity(one.heading, one.unit, tuple(spread(s.of(one)) for s in splits))
            for one in objectives
        ),
    ]


def _compute(index: int) -> Callable[[Split], Spread | None]:
    return lambda split: split.stages[index]["compute_s"]


def _cpu(index: int) -> Callable[[Split], Spread | None]:
    return lambda split: split.stages[index]["cpu_percent"]


def _against(one: Kind, other: Kind, objectives: Sequence[Objective]) -> Markup:
    changes = (
        f"{each.name} {_change(one.split.median(each) / other.split.median(each) - 1)}"
        for each in objectives
    )
    return Markup("{} at {} against {} at {}: {}.").format(
        *(one.name, link(one.split), other.name, link(other.split)), ", ".join(changes)
    )


def _change(change: float) -> str:
    if abs(change) < 5e-4:
        return "the same"
    return f"{percent(change)} {'higher' if change > 0 else 'lower'}"
