"""What becomes of the choices when the network changes: measured, predicted, and the safest bet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports.data.cells import Cell, Cuts, Split
from reports.page.figures import (
    busiest,
    fastest,
    fewer,
    latency,
    link,
    slower,
    throughput,
)
from reports.page.sections.verdict.answer import Sentence
from reports.prediction.best import Goal, Range, best_by_rtt
from reports.prediction.errors import measured_network
from reports.prediction.predictor import Predictor
from reports.statistics.regret import minimax_regret
from reports.statistics.within import Contest
from reports.words import number


def between(cells: Sequence[Cell], contests: Mapping[str, Contest]) -> list[Sentence]:
    """Say what changes from the first scenario of a pairing to each other one."""
    measured = [cell for cell in cells if cell.measured]
    return [
        sentence
        for other in measured[1:]
        for sentence in _change(measured[0], other, contests[other.id])
    ]


@dataclass(frozen=True)
class Bet:
    """The split whose worst loss over the measured networks is smallest."""

    split: Split
    loss: float  # 0: the best under each of them
    scenario: str  # where it is worst


def safest(cells: Sequence[Cell], goal: Goal) -> Bet | None:
    """Return the split that loses least whichever measured network it meets.

    None for fewer than two networks, and where no split has a valid run under each.
    """
    measured = [cell for cell in cells if cell.measured]
    points = {
        cell.scenario: {
            split.cuts: split.latency if goal == "latency" else split.throughput
            for split in cell.measured
        }
        for cell in measured
    }
    if len(points) < 2 or not set.intersection(*(set(values) for values in points.values())):
        return None
    cuts, loss, scenario = minimax_regret(points, lower_is_better=goal == "latency")
    return Bet(next(s for s in measured[0].measured if s.cuts == cuts), loss, scenario)


def one_for_all(cells: Sequence[Cell]) -> list[Sentence]:
    """Name the safest splits, and what they cost where they are worst."""
    lag, few = safest(cells, "latency"), safest(cells, "throughput")
    if lag is None or few is None:
        if sum(bool(cell.measured) for cell in cells) < 2:
            return []
        text = Markup("No split has a valid run under every network, so none can be named.")
    else:
        text = Markup("{}; {}.").format(
            _bound(lag, slower(lag.loss), "the fastest split"),
            _bound(few, fewer(few.loss), "the busiest split"),
        )
    return [Sentence("One split for every network measured", text)]


def _bound(bet: Bet, behind: str, best: str) -> Markup:
    if not bet.loss:
        return Markup("{} is {} under each of them").format(link(bet.split), best)
    return Markup("{} has at worst {} {}, under {}").format(
        link(bet.split), behind, best, bet.scenario
    )


def _change(before: Cell, after: Cell, contest: Contest) -> list[Sentence]:
    return [
        _moved("latency", fastest, latency, _later, before, after, contest),
        _moved("throughput", busiest, throughput, _less, before, after, contest),
    ]


def _later(kept: Split, best: Split) -> str:
    return slower(kept.latency / best.latency - 1)


def _less(kept: Split, best: Split) -> str:
    return fewer(best.throughput / kept.throughput - 1)


_AS_GOOD = {
    "equal": "{} stays as good as the best: {}, beside {}, {}.",
    "undecided": "{} stays among the best: {}; the runs do not tell it apart from {}, {}.",
}


def _moved(
    goal: Goal,
    best: Callable[[Cell], Split],
    say: Callable[[Split], str],
    lost: Callable[[Split, Split], str],
    before: Cell,
    after: Cell,
    contest: Contest,
) -> Sentence:
    """Say where the best split goes, and what staying would cost."""
    old, new = best(before), best(after)
    what = {"latency": "Lowest latency", "throughput": "Highest throughput"}[goal]
    label = f"{what}, {before.scenario} to {after.scenario}"
    if old.cuts == new.cuts:
        return Sentence(
            label, Markup("{} stays the best: {}, then {}.").format(link(new), say(old), say(new))
        )
    kept = next((split for split in after.measured if split.cuts == old.cuts), None)
    if kept and (same := _AS_GOOD.get(contest.outcome(new.cuts, old.cuts, goal))):
        text = Markup(same)  # nosec B704 # of the table above; what is put into it is escaped
        return Sentence(label, text.format(link(kept), say(kept), link(new), say(new)))
    text = Markup("Moves from {}, {}, to {}, {}.").format(link(old), say(old), link(new), say(new))
    if kept:
        text += Markup(" Keeping {} means {} {}.").format(link(kept), lost(kept, new), link(new))
    return Sentence(label, text)


def predicted(cells: Sequence[Cell], predictors: Mapping[str, Predictor | str]) -> list[Sentence]:
    """Say from which round-trip time on another split is best, at each rate that was measured."""
    names = {split.cuts: split for cell in cells for split in cell.splits}
    told: dict[str, Sentence] = {}
    for cell in cells:
        predictor = predictors[cell.id]
        if isinstance(predictor, str):
            continue
        rate = measured_network(cell, predictor).rate_mbit
        label = f"Predicted by round-trip time, at {number(rate)} Mbit/s" if rate else _UNLIMITED
        parts = [
            Markup("{}: {}").format(
                what, _by_rtt(best_by_rtt(predictor, rate, _RTTS_MS, goal), names)
            )
            for goal, what in _GOALS.items()
        ]
        told[label] = Sentence(label, Markup("{}; {}.").format(*parts))
    return [*told.values()]


_UNLIMITED = "Predicted by round-trip time, at an unlimited rate"
_GOALS: dict[Goal, str] = {"latency": "Lowest latency", "throughput": "highest throughput"}
_RTTS_MS = [*(0.1 * 10 ** (step / 6) for step in range(23)), 500.0]


def _by_rtt(ranges: Sequence[Range], names: Mapping[Cuts, Split]) -> Markup:
    """Return 'P3 up to 12 ms, then P17 up to 500 ms'."""
    parts = [
        Markup("{} up to {} ms").format(_named(cuts, names), number(end, 2))
        for _, end, cuts in ranges
    ]
    return Markup(", then ").join(parts)


def _named(cuts: Cuts, names: Mapping[Cuts, Split]) -> Markup:
    """Return a link to the split's row; a prediction may name one that no plan has."""
    if cuts in names:
        return link(names[cuts])
    return Markup("P{} (not measured)").format("-".join(map(str, cuts)))
