"""How the splits that the paper highlights do in the measurements at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports.data.cells import Cell, Split
from reports.page.figures import busiest, fastest, link, links, times
from reports.paper.highlights import LATENCY, ONLY, THROUGHPUT, Highlight, highlights
from reports.words import percent


@dataclass(frozen=True)
class Standing:
    """One highlighted point of the paper, and the split here that cuts at the same place.

    ``by`` is the split that it would take most to catch up with, None on the strict front.
    """

    highlight: Highlight
    split: Split | None  # None: planned or not, it has no valid run
    by: Split | None
    latency_rank: int  # 1: the lowest latency of the cell
    throughput_rank: int

    @property
    def name(self) -> str:
        """Return the paper's name, with ours where it differs."""
        return said(self.highlight)


def said(highlight: Highlight) -> str:
    """Return 'P5', or 'P5 (here P9)' where the paper counts otherwise."""
    here = f"P{highlight.cut}"
    return highlight.name if here == highlight.name else f"{highlight.name} (here {here})"


def standings(cell: Cell) -> list[Standing]:
    """Return how each of the paper's points for this model and pairing stands in a cell."""
    done = cell.measured
    found = []
    for highlight in highlights(cell.model, cell.pairing):
        split = next((s for s in done if s.cuts == (highlight.cut,)), None)
        if split is None:
            found.append(Standing(highlight, None, None, 0, 0))
            continue
        found.append(
            Standing(
                highlight,
                split,
                _clearest(split, done),
                1 + sum(other.latency < split.latency for other in done),
                1 + sum(other.throughput > split.throughput for other in done),
            )
        )
    return found


def sentences(cell: Cell) -> list[Markup]:
    """Say of each of the paper's points that does not come out here as the paper shows it."""
    return [text for standing in standings(cell) if (text := _differs(cell, standing))]


def _differs(cell: Cell, standing: Standing) -> Markup | None:
    split, shown_as = standing.split, standing.highlight.shown_as
    opening = Markup("{} is the paper's {}").format(standing.name, shown_as)
    if split is None:
        return opening + Markup("; here it has no valid run.") if cell.measured else None
    fast, busy = fastest(cell), busiest(cell)
    best = {LATENCY: fast, THROUGHPUT: busy}.get(shown_as, split)
    if standing.by is not None:
        parts = [
            Markup("here {}, so {} is off the strict front").format(beaten(standing), split.name)
        ]
        if best not in (split, standing.by):
            parts.append(Markup("the {} is {}'s").format(shown_as, link(best)))
    elif best is not split:
        gain = _less(best, split) if shown_as == LATENCY else _more(best, split)
        parts = [Markup("here it is on the front too, and {}").format(_has(best, gain))]
    elif shown_as == ONLY and len(cell.front) > 1:
        others = [other for other in cell.front if other is not split]
        parts = [Markup("here the front has {} too").format(links(others))]
    else:
        return None
    return opening + Markup("; ") + Markup("; ").join(parts) + Markup(".")


def beaten(standing: Standing) -> Markup:
    """Say by what a point is dominated: 'P5 has 5.8 % less latency and 63 % more throughput'."""
    split, by = standing.split, standing.by
    if split is None or by is None:
        return Markup("")
    return _has(by, f"{_less(by, split)} and {_more(by, split)}")


def _has(split: Split, what: str) -> Markup:
    return Markup("{} has {}").format(link(split), what)


def _less(best: Split, split: Split) -> str:
    gain = 1 - best.latency / split.latency
    return f"{percent(gain)} less latency" if gain else "the same latency"


def _more(best: Split, split: Split) -> str:
    gain = best.throughput / split.throughput - 1
    if gain >= 1:
        return f"{times(1 + gain)} the throughput"
    return f"{percent(gain)} more throughput" if gain else "the same throughput"


def _clearest(split: Split, done: Sequence[Split]) -> Split | None:
    """Return the dominating split to which the nearer of the two goals is farthest."""
    better = [
        other
        for other in done
        if other.latency <= split.latency
        and other.throughput >= split.throughput
        and (other.latency < split.latency or other.throughput > split.throughput)
    ]

    def gap(other: Split) -> tuple[float, float, tuple[int, ...]]:
        ratios = sorted((split.latency / other.latency, other.throughput / split.throughput))
        return ratios[0], ratios[1], tuple(-cut for cut in other.cuts)

    return max(better, key=gap, default=None)
