"""Each backend's batch time at its best throughput (the paper's Fig. 7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

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


def of(comparison: Comparison) -> dict[str, Any]:
    cells = (comparison.cell, *(rival.cell for rival in comparison.rivals))
    splits = [cell.best(THROUGHPUT) for cell in cells]
    objectives = [o for o in comparison.cell.objectives if all(s.of(o) for s in splits)]
    names = [name for name, _ in comparison.columns]
    first, *others = zip(names, splits, strict=True)
    key = f"breakdown-{slug(comparison.cell.id)}"
    return {
        "kinds": [
            {"name": name, "split": split, "runs": count(split.runs, "run")}
            for name, split in (first, *others)
        ],
        "lines": _lines(comparison.cell, splits, objectives),
        "sentences": [_against(first, other, objectives) for other in others],
        "chart": bars.parts(key, names, [*zip(splits, cells, strict=True)]),
        "chained": len(comparison.cell.hosts) > 2,
        # The paper's finding, if it shows this case.
        "paper": _SAID if _shown(comparison.cell) else "",
    }


def _shown(cell: Cell) -> bool:
    return (cell.model, cell.pairing) == ("mobilenetv2", "pi_to_pi") and cell.asked is None


def _lines(
    cell: Cell, splits: Sequence[Split], objectives: Sequence[Objective]
) -> list[dict[str, Any]]:
    def line(label: str, unit: str, values: Iterable[Spread | None]) -> dict[str, Any]:
        return {"label": label, "unit": unit, "values": [*map(spread, values)]}

    def stages(label: str, unit: str, figure: str) -> list[dict[str, Any]]:
        return [
            line(f"Stage {k} {label}, {host}", unit, (s.stages[k - 1][figure] for s in splits))
            for k, host in enumerate(cell.hosts, start=1)
        ]

    return [
        *stages("compute", "s", "compute_s"),
        line("Network, all hops", "s", (split["network_s"] for split in splits)),
        *stages("CPU", "%", "cpu_percent"),
        *(line(one.heading, one.unit, (s.of(one) for s in splits)) for one in objectives),
    ]


def _against(
    one: tuple[str, Split], other: tuple[str, Split], objectives: Sequence[Objective]
) -> Markup:
    (name, split), (other_name, other_split) = one, other
    changes = (
        f"{each.name} {_change(split.median(each) / other_split.median(each) - 1)}"
        for each in objectives
    )
    return Markup("{} at {} against {} at {}: {}.").format(
        *(name, link(split), other_name, link(other_split)), ", ".join(changes)
    )


def _change(change: float) -> str:
    if abs(change) < 5e-4:
        return "the same"
    return f"{percent(change)} {'higher' if change > 0 else 'lower'}"
