"""The decision on a cell in words: the pick, what it cannot be told apart from, what would tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import ceil
from typing import Any

from markupsafe import Markup

from paretopipe_runtime.contract.codecs import CODECS
from paretopipe_runtime.contract.splits import codec_of
from reports.data.cells import Cell, Cuts, Split
from reports.page.figures import link, prose
from reports.page.sections.verdict import accuracy, encoded, fewer, saved, splitting
from reports.page.sections.verdict.answer import Sentence
from reports.page.sheet import Sheet
from reports.statistics.decision import Choice, Decision
from reports.words import listing, number, percent

# What `refine=true` measures of a split at most, and what nobody will wait for.
REFINED, HOPELESS = 20, 100
_FEW, _MANY = 4, 12  # names that are read as a list, and those that nobody reads
_NOTHING = 5e-4  # a loss that reads as 0.0 %


def sentences(cell: Cell, sheet: Sheet) -> list[Sentence]:
    """Return a cell's decision, the pick first and without a label."""
    answer = sheet.decisions[cell.id]
    if answer is None:
        return [Sentence("", Markup("No split has a valid run yet, so there is no answer here."))]
    contest = sheet.contests[cell.id]
    return [
        Sentence("", pick(cell, answer)),
        *_tied(cell, answer),
        *(
            Sentence(one.heading, either(cell, answer.of(one)))
            for one in cell.objectives
            if len(cell.known) > 1
        ),
        Sentence("Splitting", Markup("{}.").format(splitting.short(cell, contest, answer))),
        *fewer.sentences(sheet, cell),
        *encoded.sentences(cell),
        *accuracy.sentences(cell, answer),
        *_undecided(cell, answer, sheet.run_s(cell)),
        *saved.sentences(cell),
    ]


def pick(cell: Cell, answer: Decision) -> Markup:
    """Return 'Pick P16, after features.15: expected 13 % behind the best in its worse goal, …'."""
    choice, split = answer.both, by_cuts(cell)[answer.both.pick]
    unseen = "" if split.runs else " (predicted, never run)"
    name = Markup("Pick <b>{}</b>{}{}").format(link(split), after(split), unseen)
    if len(cell.known) == 1:
        return name + ", the only split measured."
    worse = "" if len(cell.objectives) == 1 else f" in its worse goal, {answer.worse.name}"
    if choice.bound is None:
        lost = f"{percent(choice.expected)} behind the best{worse}"
        lost = lost if choice.expected > _NOTHING else "the best in both goals"
        return name + f": {lost} ({answer.reason})."
    if choice.bound < _NOTHING:
        return name + ": the best in both goals."
    return name + (
        f": expected {percent(choice.expected)} behind the best{worse}; "
        f"90\N{NO-BREAK SPACE}%: at most {percent(choice.bound)}."
    )


def after(split: Split) -> str:
    """Return where the cut is, in the network's own words: ', after features.15'."""
    blocks = [before for before, _ in split.cut_blocks if before != "?"]
    return f", after {listing(blocks)}" if blocks else ""


def either(cell: Cell, choice: Choice) -> Markup:
    """Return 'P16 or P15', or 'P8, or any of P5 and P7–P11: …'."""
    splits = by_cuts(cell)
    first, *others = (splits[cuts] for cuts in choice.tied)
    if not others:
        return Markup("{}.").format(link(first))
    if len(choice.tied) == len(cell.known) > 2:
        return Markup("{}; none of the {} splits can be ruled out.").format(
            link(first), len(choice.tied)
        )
    if len(others) < _FEW:
        return Markup("{}.").format(prose([link(first), *map(link, others)], "or"))
    if len(parts := _joined(others)) > _MANY:
        likely = prose([*map(link, others[:_FEW])])
        return Markup("{}, or any of {} others, likeliest {}.").format(
            link(first), len(others), likely
        )
    return Markup("{}, or any of {}.").format(link(first), prose(parts))


def spans(splits: Sequence[Split]) -> Markup:
    """Return 'P5 and P7–P11': links, neighbours of one codec joined."""
    return prose(_joined(splits))


def _joined(splits: Sequence[Split]) -> list[Markup]:
    ordered = sorted(splits, key=lambda split: (_codec(split), split.cuts))
    parts: list[Markup] = []
    placed = enumerate(ordered)
    for _, run in groupby(placed, _alike):
        row = [link(split) for _, split in run]
        parts += row if len(row) < 3 else [Markup("{}–{}").format(row[0], row[-1])]
    return parts


def _alike(placed: tuple[int, Split]) -> tuple[Any, ...]:
    """Return a key that consecutive last cuts share."""
    place, split = placed
    return _codec(split), split.cuts[:-1], split.cuts[-1] - place


def _codec(split: Split) -> int:
    return CODECS[codec_of(split.cuts)].number


def by_cuts(cell: Cell) -> Mapping[Cuts, Split]:
    return {split.cuts: split for split in cell.known}


def marks(cell: Cell, answer: Decision) -> dict[Cuts, str]:
    """Return the splits to name in a picture: the pick, and the first of each goal."""
    first = {answer.of(one).pick: "best" for one in cell.objectives}
    return {**first, answer.both.pick: "pick"}


def _tied(cell: Cell, answer: Decision) -> list[Sentence]:
    others = [by_cuts(cell)[cuts] for cuts in answer.both.tied[1:]]
    if not others:
        return []
    return [Sentence("May be as good", Markup("{}.").format(spans(others)))]


def _undecided(cell: Cell, answer: Decision, run_s: float | None) -> list[Sentence]:
    """Say what would decide, in runs and minutes; nothing where all is decided."""
    choices = [answer.both, *answer.goals.values()]
    if answer.reason and len(cell.measured) > 1:
        few = Markup("more runs of each split show how much they differ: {}.")
        return [Sentence("Undecided", few.format(Markup("<code>-e repeats=5</code>")))]
    still = [choice for choice in choices if choice.open]
    if not still:
        return []
    if cell.standing:
        return [Sentence("Undecided", saved.further(cell))]
    splits = {cuts for choice in still for cuts in choice.tied}
    needed = max(choice.needed or 0 for choice in still)
    if needed > HOPELESS:
        about = number(needed, 1)
        text = f"more runs will not tell (about {about} of each split would)."
        return [Sentence("Undecided", Markup("{}").format(text))]
    so_far = max(split.runs for split in cell.measured)
    refined = max(needed, so_far + 1) <= REFINED
    more = max(needed - so_far, 1)
    if not refined:
        splits = set(by_cuts(cell))
    option = "refine=true" if refined else f"repeats={so_far + more}"
    each = f"{more} more {'run' if more == 1 else 'runs'} of each of {len(splits)} splits"
    return [
        Sentence(
            "Undecided",
            Markup("about {}{} would tell: <code>-e {}</code>.").format(
                each, _minutes(more * len(splits), run_s), option
            ),
        )
    ]


def _minutes(runs: int, run_s: float | None) -> str:
    if run_s is None:
        return ""
    return f" ({max(1, ceil(runs * run_s / 60))} min)"
