"""The answer in sentences: where to split, what the other choice costs, what a scenario changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from reports.data.cells import Cell, Split, Spread
from reports.words import count, decimals, listing, number, percent

LATENCY, THROUGHPUT = "s", "images/s"


def sentences(cell: Cell) -> list[Markup]:
    """Return what a practitioner needs to know about one cell, most important first."""
    if not cell.measured:
        return [Markup("No split has a valid run yet, so there is no answer here.")]
    fast, busy = fastest(cell), busiest(cell)
    if fast is busy:
        found = [
            Markup(
                "{} has both the lowest latency, {}, and the highest throughput, {}; {}."
            ).format(link(fast), _latency(fast), _throughput(fast), _runs(fast, busy)),
            Markup("No other split is better in either: nothing to choose between."),
        ]
    else:
        found = [
            Markup("{} has the lowest latency, {}, and {} the highest throughput, {}; {}.").format(
                *(link(fast), _latency(fast)),
                *(link(busy), _throughput(busy), _runs(fast, busy)),
            ),
            Markup(
                "Choosing {} instead means {}; choosing {} gives up {} of the throughput."
            ).format(
                *(link(busy), _slower(busy, fast)),
                *(link(fast), percent(1 - fast.throughput / busy.throughput)),
            ),
        ]
    return found + _doubts(cell, fast, busy)


def fastest(cell: Cell) -> Split:
    """Return the measured split with the lowest median latency (ties: more throughput)."""
    return min(cell.measured, key=lambda split: (split.latency, -split.throughput, split.cuts))


def busiest(cell: Cell) -> Split:
    """Return the measured split with the highest median throughput (ties: less latency)."""
    return min(cell.measured, key=lambda split: (-split.throughput, split.latency, split.cuts))


def change(before: Cell, after: Cell) -> list[Markup]:
    """Say what becomes of the choices when the network goes from one scenario to another."""
    if not (before.measured and after.measured):
        return []
    told = [
        _moved("lowest latency", fastest, _latency, before, after),
        _moved("highest throughput", busiest, _throughput, before, after),
    ]
    for best, goal in ((fastest, "lowest latency"), (busiest, "highest throughput")):
        kept = next((s for s in after.measured if s.cuts == best(before).cuts), None)
        if kept and kept is not best(after):
            told.append(_keeping(kept, best(after), goal, before, after))
    return told


def link(split: Split) -> Markup:
    """Return the split's name as a link to its row."""
    return Markup('<a href="#{}">{}</a>').format(split.row_id, split.name)


def spread(value: Spread | None, unit: str = "") -> str:
    """Return '1.82 s [1.79, 1.86]': the median, then the lowest and the highest run."""
    if value is None:
        return "–"
    places = decimals(value.median)
    low, high = (f"{end:,.{places}f}" for end in (value.low, value.high))
    measure = f"{number(value.median)}\N{NO-BREAK SPACE}{unit}" if unit else number(value.median)
    return f"{measure} [{low},\N{NO-BREAK SPACE}{high}]"


def _moved(
    what: str,
    best: Callable[[Cell], Split],
    say: Callable[[Split], str],
    before: Cell,
    after: Cell,
) -> Markup:
    old, new = best(before), best(after)
    if old.cuts == new.cuts:
        return Markup("From {} to {}, {} keeps the {}: {}, then {}.").format(
            before.scenario, after.scenario, link(new), what, say(old), say(new)
        )
    return Markup("From {} to {}, the {} moves from {} ({}) to {} ({}).").format(
        *(before.scenario, after.scenario, what, link(old), say(old), link(new), say(new)),
    )


def _keeping(kept: Split, best: Split, goal: str, before: Cell, after: Cell) -> Markup:
    if goal == "lowest latency":
        loss = _slower(kept, best)
    else:
        loss = f"{percent(1 - kept.throughput / best.throughput)} less throughput than {best.name}"
    return Markup("Keeping {}'s {} under {} means {}.").format(
        before.scenario, link(kept), after.scenario, loss
    )


def _doubts(cell: Cell, fast: Split, busy: Split) -> list[Markup]:
    near = [overlap(split.latency_s, fast.latency_s) for split in cell.measured]
    full = [overlap(split.throughput_img_s, busy.throughput_img_s) for split in cell.measured]
    told = []
    for best, goal, close in ((fast, "latency", near), (busy, "throughput", full)):
        pairs = zip(cell.measured, close, strict=True)
        names = [split.name for split, overlaps in pairs if overlaps and split is not best]
        if names:
            told.append(
                Markup("In {}, the runs of {} overlap with those of {}: not clearly apart.").format(
                    goal, listing(names), best.name
                )
            )
    if cell.missing:
        told.append(
            Markup("{} of {} planned splits measured; still without a valid run: {}.").format(
                len(cell.planned) - len(cell.missing), len(cell.planned), listing(cell.missing)
            )
        )
    return told


def overlap(one: Spread | None, other: Spread | None) -> bool:
    """Whether the ranges of two medians have a value in common."""
    return bool(one and other and one.low <= other.high and other.low <= one.high)


def _slower(split: Split, best: Split) -> str:
    """Say how much more latency: in percent up to twice as much, then as a factor."""
    if split.latency < 2 * best.latency:
        return f"{percent(split.latency / best.latency - 1)} more latency than {best.name}"
    return f"{number(split.latency / best.latency, 2)} times the latency of {best.name}"


def _latency(split: Split) -> str:
    return spread(split.latency_s, LATENCY)


def _throughput(split: Split) -> str:
    return spread(split.throughput_img_s, THROUGHPUT)


def _runs(fast: Split, busy: Split) -> str:
    if fast is busy:
        return count(fast.runs, "run")
    if fast.runs == busy.runs:
        return f"{count(fast.runs, 'run')} each"
    return f"{fast.name} in {count(fast.runs, 'run')}, {busy.name} in {count(busy.runs, 'run')}"


def scenarios(cells: Sequence[Cell]) -> list[Markup]:
    """Say what changes from the first scenario of a pairing to each other one."""
    return [text for other in cells[1:] for text in change(cells[0], other)]
