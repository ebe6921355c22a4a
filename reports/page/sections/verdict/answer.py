"""A cell's answer: where to split, equals, costs."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from reports.data.cells import Cell, Split
from reports.objectives import Objective
from reports.page.figures import behind, link, links, margin, prose, say
from reports.page.sections.verdict import splitting
from reports.statistics.difference import Contest
from reports.statistics.judge import Judgement
from reports.statistics.regret import balanced
from reports.words import count, listing


@dataclass(frozen=True)
class Sentence:
    """A finding with its few-word title."""

    label: str
    text: Markup


def sentences(cell: Cell, judgement: Judgement, contest: Contest) -> list[Sentence]:
    """Return a cell's findings, most important first."""
    if not cell.measured:
        return [Sentence("", Markup("No split has a valid run yet, so there is no answer here."))]
    return [
        *(Sentence(one.title, _best(cell, one, contest)) for one in cell.objectives),
        Sentence("Balanced", _balance(cell)),
        Sentence("Does splitting pay?", splitting.sentence(cell, contest)),
        *_doubts(cell, judgement),
    ]


def compromise(cell: Cell) -> Split:
    """Return the split whose largest loss in any objective is smallest."""
    objectives = cell.objectives
    points = {split.cuts: tuple(map(split.median, objectives)) for split in cell.measured}
    cuts, _ = balanced(points, [objective.lower for objective in objectives])
    return next(split for split in cell.measured if split.cuts == cuts)


def _best(cell: Cell, objective: Objective, contest: Contest) -> Markup:
    """Name the best split and its equals."""
    best, within = cell.best(objective), margin(objective.within(contest.delta))
    runs = count(best.runs, "run")
    text = Markup("{}, {} in {}.").format(link(best), say(best, objective), runs)
    others = [split for split in cell.measured if split is not best]
    found = {s.cuts: contest.outcome(best.cuts, s.cuts, objective) for s in others}
    alike = [split for split in others if found[split.cuts] == "equal"]
    doubtful = [split for split in others if found[split.cuts] == "undecided"]
    if others and len(alike) == len(others):
        return text + Markup(" Every other split is within {} of it.").format(within)
    if alike:
        text += Markup(" As good, within {}: {}.").format(within, links(alike))
    if doubtful:
        text += Markup(" Not told apart from it at δ = {}: {}.").format(within, links(doubtful))
    return text


def _balance(cell: Cell) -> Markup:
    bests = [(objective, cell.best(objective)) for objective in cell.objectives]
    middle = compromise(cell)
    if len({best.cuts for _, best in bests}) == 1:
        every = "both" if len(bests) == 2 else "all"
        return Markup("{} is best in {}: nothing to trade.").format(link(middle), every)
    lost = [
        Markup("{} {}").format(behind(objective, middle.loss(objective, best)), link(best))
        for objective, best in bests
        if best is not middle
    ]
    return Markup("{} has {}.").format(link(middle), prose(lost))


def _doubts(cell: Cell, judgement: Judgement) -> list[Sentence]:
    lines = []
    if judgement.unreliable:
        shaky = [split for split in cell.measured if split.cuts in judgement.unreliable]
        lines.append(
            Sentence(
                "Unreliable",
                Markup("More than 20 % of the attempts were invalid: {}.").format(links(shaky)),
            )
        )
    if cell.missing:
        done = len(cell.planned) - len(cell.missing)
        lines.append(
            Sentence(
                "Incomplete",
                Markup("{} of {} planned splits measured; without a valid run: {}.").format(
                    done, len(cell.planned), listing(cell.missing)
                ),
            )
        )
    return lines
