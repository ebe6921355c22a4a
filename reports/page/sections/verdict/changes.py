"""Effects of a changed network on the choice of split, measured and predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from statistics import median

from markupsafe import Markup

from paretopipe_runtime.contract.splits import split_name
from reports.data.cells import Cell, Cuts, Split
from reports.objectives import Objective
from reports.page.figures import behind, link, say
from reports.page.sections.verdict.answer import Sentence
from reports.page.sheet import Sheet
from reports.prediction.best import PREDICTED, Range, best_by_rtt
from reports.prediction.errors import Errors, errors, said_network
from reports.statistics.decision import Choice, whichever
from reports.words import listing, number, percent


def between(sheet: Sheet, cells: Sequence[Cell]) -> list[Sentence]:
    """Compare a pairing's first scenario with each other one."""
    measured = [cell for cell in cells if cell.measured]
    return [
        _moved(sheet, objective, measured[0], other)
        for other in measured[1:]
        for objective in measured[0].objectives
        if objective in other.objectives
    ]


def one_for_all(sheet: Sheet, cells: Sequence[Cell]) -> list[Sentence]:
    """Name the split that loses least where it loses most, over measured networks."""
    measured = [cell for cell in cells if cell.measured]
    if len(measured) < 2:
        return []
    names = {split.cuts: split for cell in measured for split in cell.known}
    bets = [
        (objective, bet)
        for objective in sheet.objectives
        if (bet := whichever(cells, objective, sheet.delta))
    ]
    text = Markup("; ").join(_bound(bet, objective, names) for objective, bet in bets)
    if not bets:
        text = Markup("no split is known well enough under each")
    return [Sentence("Network unknown", text + ".")]


def _bound(bet: Choice, objective: Objective, names: Mapping[Cuts, Split]) -> Markup:
    split = names[bet.pick]
    bound = bet.bound or 0.0
    if bound < 5e-4:
        return Markup("{}, {} under each").format(link(split), objective.winner)
    worst = f"at most {behind(objective, bound, name=False)} {objective.winner} (90 %)"
    return Markup("{} for {}, {}").format(link(split), objective.name, worst)


_AS_GOOD = {
    "equal": "{} stays as good as the best: {}, beside {}, {}.",
    "undecided": "{} stays among the best: {}; the runs do not tell it apart from {}, {}.",
}


def _moved(sheet: Sheet, objective: Objective, before: Cell, after: Cell) -> Sentence:
    """Say where the best split moves, and the cost of staying."""
    old, new = (_best(sheet, cell, objective) for cell in (before, after))
    first, then = say(old, objective), say(new, objective)
    label = f"{objective.title}, {before.scenario} to {after.scenario}"
    if old.cuts == new.cuts:
        text = Markup("{} stays the best: {}, then {}.").format(link(new), first, then)
        return Sentence(label, text)
    kept = next((split for split in after.known if split.cuts == old.cuts), None)
    contest = sheet.contests[after.id]
    if kept and (same := _AS_GOOD.get(contest.outcome(new.cuts, old.cuts, objective))):
        text = Markup(same)  # nosec B704 # a literal; its arguments are escaped
        return Sentence(label, text.format(link(kept), say(kept, objective), link(new), then))
    text = Markup("Moves from {}, {}, to {}, {}.").format(link(old), first, link(new), then)
    if kept:
        lost = behind(objective, kept.loss(objective, new))
        text += Markup(" Keeping {} means {} {}.").format(link(kept), lost, link(new))
    return Sentence(label, text)


def _best(sheet: Sheet, cell: Cell, objective: Objective) -> Split:
    answer = sheet.decisions[cell.id]
    picks = {answer.of(objective).pick} if answer else set()
    return next(split for split in cell.known if split.cuts in picks)


def predicted(sheet: Sheet, cells: Sequence[Cell]) -> list[Sentence]:
    """Say at which round-trip times the predicted best split changes, per measured rate."""
    names = {split.cuts: split for cell in cells for split in cell.splits}
    lines: dict[str, Sentence] = {}
    for cell in cells:
        predictor = sheet.predictors[cell.id]
        if isinstance(predictor, str):
            continue
        found = errors(cell, predictor)
        rate = found.network.rate_mbit
        later = found.predictor.networks[1:] if found.predictor is not predictor else ()
        label = ", then ".join(
            [
                f"Predicted, at {number(rate)} Mbit/s" if rate else _UNLIMITED,
                *map(said_network, later),
            ]
        )
        parts = []
        for objective in PREDICTED:
            ranges = best_by_rtt(found.predictor, rate, _RTTS_MS, objective)
            shown = {cuts for _, _, cuts in ranges}
            if cell.measured:
                shown.add(_best(sheet, cell, objective).cuts)
            parts.append(
                Markup("{}: {}{}").format(
                    "fastest" if objective.lower else objective.title.lower(),
                    _by_rtt(ranges, names),
                    _off(found, objective, shown),
                )
            )
        lines[label] = Sentence(label, Markup("; ").join(parts) + ".")
    return [*lines.values()]


def _off(found: Errors, objective: Objective, shown: Set[Cuts]) -> Markup:
    """Return ' (typical error 6 %; ⚠ 27 % off at P3)'; the flag from a tenth on."""
    known = [(getattr(error, objective.name), error) for error in found.splits]
    if not known:
        return Markup(" (never compared with a measurement)")
    typical = percent(median(abs(off) for off, _ in known))
    far = [
        f"{percent(off)} off at {error.name}"
        for off, error in known
        if error.cuts in shown and abs(off) > _FAR
    ]
    flag = Markup('; <span class="open">⚠ {}</span>').format(listing(far)) if far else ""
    return Markup(" (typical error {}{})").format(typical, flag)


_FAR = 0.1
_UNLIMITED = "Predicted, at an unlimited rate"
_RTTS_MS = [*(0.1 * 10 ** (step / 6) for step in range(23)), 500.0]


def _by_rtt(ranges: Sequence[Range], names: Mapping[Cuts, Split]) -> Markup:
    """Return 'P3 up to 12 ms, then P17', or 'P3 at any round trip'."""
    if len(ranges) == 1:
        return Markup("{} at any round trip up to {} ms").format(
            _named(ranges[0][2], names), number(ranges[0][1], 2)
        )
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
