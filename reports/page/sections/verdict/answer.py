"""The answer for one cell in sentences: where to split, who is as good, what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from reports.data.cells import Cell, Split
from reports.page.figures import busiest, fastest, fewer, link, links, margin, slower
from reports.page.goals import LATENCY, THROUGHPUT, Measure
from reports.page.sections.verdict import splitting as pays
from reports.statistics.judge import Judgement
from reports.statistics.regret import balanced
from reports.statistics.within import Contest
from reports.words import count, listing


@dataclass(frozen=True)
class Sentence:
    """One thing to know, with the few words to find it by."""

    label: str
    text: Markup


def sentences(cell: Cell, judgement: Judgement, contest: Contest) -> list[Sentence]:
    """Return what a practitioner needs to know about one cell, most important first."""
    if not cell.measured:
        return [Sentence("", Markup("No split has a valid run yet, so there is no answer here."))]
    return [
        Sentence("Lowest latency", _best(cell, LATENCY, contest)),
        Sentence("Highest throughput", _best(cell, THROUGHPUT, contest)),
        Sentence("Balanced", _balance(cell)),
        Sentence("Does splitting pay?", pays.sentence(cell, contest)),
        *_doubts(cell, judgement),
    ]


def compromise(cell: Cell) -> Split:
    """Return the split whose larger loss, in latency or in throughput, is smallest."""
    points = {split.cuts: (split.latency, split.throughput) for split in cell.measured}
    cuts, _ = balanced(points)
    return next(split for split in cell.measured if split.cuts == cuts)


def _best(cell: Cell, measure: Measure, contest: Contest) -> Markup:
    """Name the best split and those that may be chosen in its stead."""
    best, within = measure.best(cell), margin(contest.delta)
    text = Markup("{}, {} in {}.").format(link(best), measure.say(best), count(best.runs, "run"))
    others = [split for split in cell.measured if split is not best]
    found = {s.cuts: contest.outcome(best.cuts, s.cuts, measure.goal) for s in others}
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
    fast, busy, middle = fastest(cell), busiest(cell), compromise(cell)
    if fast is busy:
        return Markup("{} is best in both: nothing to trade.").format(link(fast))
    lost = []
    if middle is not fast:
        lost.append(Markup("{} {}").format(slower(middle.latency / fast.latency - 1), link(fast)))
    if middle is not busy:
        loss = busy.throughput / middle.throughput - 1
        lost.append(Markup("{} {}").format(fewer(loss), link(busy)))
    return Markup("{} has {}.").format(link(middle), Markup(" and ").join(lost))


def _doubts(cell: Cell, judgement: Judgement) -> list[Sentence]:
    told = []
    if judgement.unreliable:
        shaky = [split for split in cell.measured if split.cuts in judgement.unreliable]
        told.append(
            Sentence(
                "Unreliable",
                Markup("More than 20 % of the attempts were invalid: {}.").format(links(shaky)),
            )
        )
    if cell.missing:
        done = len(cell.planned) - len(cell.missing)
        told.append(
            Sentence(
                "Incomplete",
                Markup("{} of {} planned splits measured; without a valid run: {}.").format(
                    done, len(cell.planned), listing(cell.missing)
                ),
            )
        )
    return told
