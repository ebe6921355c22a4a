"""Effects of a changed network on the choice of split, measured and predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from paretopipe_runtime.contract.splits import split_name
from reports.data.cells import Cell, Cuts, Split
from reports.objectives import Objective
from reports.page.figures import behind, link, say
from reports.page.sections.verdict.answer import Sentence
from reports.prediction.best import PREDICTED, Range, best_by_rtt
from reports.prediction.errors import measured_network
from reports.prediction.predictor import Predictor
from reports.statistics.difference import Contest
from reports.statistics.regret import minimax_regret
from reports.words import number


def between(cells: Sequence[Cell], contests: Mapping[str, Contest]) -> list[Sentence]:
    """Compare a pairing's first scenario with each other one."""
    measured = [cell for cell in cells if cell.measured]
    return [
        sentence
        for other in measured[1:]
        for sentence in _change(measured[0], other, contests[other.id])
    ]


@dataclass(frozen=True)
class Bet:
    split: Split
    loss: float  # 0: the best under each of them
    scenario: str  # where it is worst


def safest(cells: Sequence[Cell], objective: Objective) -> Bet | None:
    """Return the split with the smallest worst loss over measured networks.

    None for fewer than two, or where no split is valid under each.
    """
    measured = [cell for cell in cells if cell.measured and objective in cell.objectives]
    points = {
        cell.scenario: {split.cuts: split.median(objective) for split in cell.measured}
        for cell in measured
    }
    if len(points) < 2 or not set.intersection(*(set(values) for values in points.values())):
        return None
    cuts, loss, scenario = minimax_regret(points, lower_is_better=objective.lower)
    return Bet(next(s for s in measured[0].measured if s.cuts == cuts), loss, scenario)


def one_for_all(cells: Sequence[Cell], objectives: Sequence[Objective]) -> list[Sentence]:
    """Name the safest splits and their worst cost."""
    bets = [(objective, safest(cells, objective)) for objective in objectives]
    text = Markup("; ").join(_bound(bet, objective) for objective, bet in bets if bet)
    if not text:
        if sum(bool(cell.measured) for cell in cells) < 2:
            return []
        text = Markup("No split has a valid run under every network, so none can be named")
    return [Sentence("One split for every network measured", text + ".")]


def _bound(bet: Bet, objective: Objective) -> Markup:
    if not bet.loss:
        return Markup("{} is {} under each of them").format(link(bet.split), objective.winner)
    return Markup("{} has at worst {} {}, under {}").format(
        link(bet.split), behind(objective, bet.loss), objective.winner, bet.scenario
    )


def _change(before: Cell, after: Cell, contest: Contest) -> list[Sentence]:
    return [
        _moved(objective, before, after, contest)
        for objective in before.objectives
        if objective in after.objectives
    ]


_AS_GOOD = {
    "equal": "{} stays as good as the best: {}, beside {}, {}.",
    "undecided": "{} stays among the best: {}; the runs do not tell it apart from {}, {}.",
}


def _moved(objective: Objective, before: Cell, after: Cell, contest: Contest) -> Sentence:
    """Say where the best split moves, and the cost of staying."""
    old, new = before.best(objective), after.best(objective)
    first, then = say(old, objective), say(new, objective)
    label = f"{objective.title}, {before.scenario} to {after.scenario}"
    if old.cuts == new.cuts:
        text = Markup("{} stays the best: {}, then {}.").format(link(new), first, then)
        return Sentence(label, text)
    kept = next((split for split in after.measured if split.cuts == old.cuts), None)
    if kept and (same := _AS_GOOD.get(contest.outcome(new.cuts, old.cuts, objective))):
        text = Markup(same)  # nosec B704 # a literal; its arguments are escaped
        return Sentence(label, text.format(link(kept), say(kept, objective), link(new), then))
    text = Markup("Moves from {}, {}, to {}, {}.").format(link(old), first, link(new), then)
    if kept:
        lost = behind(objective, kept.loss(objective, new))
        text += Markup(" Keeping {} means {} {}.").format(link(kept), lost, link(new))
    return Sentence(label, text)


def predicted(cells: Sequence[Cell], predictors: Mapping[str, Predictor | str]) -> list[Sentence]:
    """Say at which round-trip times the predicted best split changes, per measured rate."""
    names = {split.cuts: split for cell in cells for split in cell.splits}
    lines: dict[str, Sentence] = {}
    for cell in cells:
        predictor = predictors[cell.id]
        if isinstance(predictor, str):
            continue
        rate = measured_network(cell, predictor).rate_mbit
        label = f"Predicted by round-trip time, at {number(rate)} Mbit/s" if rate else _UNLIMITED
        parts = [
            Markup("{}: {}").format(
                objective.title.lower() if place else objective.title,
                _by_rtt(best_by_rtt(predictor, rate, _RTTS_MS, objective), names),
            )
            for place, objective in enumerate(PREDICTED)
        ]
        lines[label] = Sentence(label, Markup("; ").join(parts) + ".")
    return [*lines.values()]


_UNLIMITED = "Predicted by round-trip time, at an unlimited rate"
_RTTS_MS = [*(0.1 * 10 ** (step / 6) for step in range(23)), 500.0]


def _by_rtt(ranges: Sequence[Range], names: Mapping[Cuts, Split]) -> Markup:
    """Return 'P3 up to 12 ms, then P17 up to 500 ms'."""
    parts = [
        Markup("{} up to {} ms").format(_named(cuts, names), number(end, 2))
        for _, end, cuts in ranges
    ]
    return Markup(", then ").join(parts)


def _named(cuts: Cuts, names: Mapping[Cuts, Split]) -> Markup:
    """Link the split's row; predictions may name unplanned splits."""
    if cuts in names:
        return link(names[cuts])
    return Markup("{} (not measured)").format(split_name(cuts))
