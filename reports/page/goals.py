"""Goals in words, and who is on the front, undecided or off: the same sign and words everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reports.data.cells import Cell, Split
from reports.page.figures import busiest, fastest, latency, throughput
from reports.statistics.judge import Judgement
from reports.statistics.within import Goal


@dataclass(frozen=True)
class Measure:
    """One goal in words: 'P3 answers in 0.21 s, 1.8 times as fast as P9'."""

    goal: Goal
    best: Callable[[Cell], Split]
    say: Callable[[Split], str]
    does: str
    than: str
    gain: Callable[[Split, Split], float]  # how many times as good the first is


LATENCY = Measure(
    "latency",
    fastest,
    latency,
    "answers in",
    "as fast as",
    lambda one, other: other.latency / one.latency,
)
THROUGHPUT = Measure(
    "throughput",
    busiest,
    throughput,
    "moves",
    "as many as",
    lambda one, other: one.throughput / other.throughput,
)
BOTH = (LATENCY, THROUGHPUT)

VERDICTS = ("on", "undecided", "off")
SIGNS = {"on": "◆", "undecided": "▲", "off": "●"}


def of(judgement: Judgement, verdict: str, cell: Cell) -> list[Split]:
    """Return the measured splits with this verdict, by latency."""
    found = [split for split in cell.measured if judgement.verdict[split.cuts] == verdict]
    return sorted(found, key=lambda split: (split.latency, split.cuts))


def said(judgement: Judgement, split: Split) -> str:
    """Return 'on 0.97': the verdict with the probability of being on the front, if it is known."""
    verdict, sure = judgement.verdict[split.cuts], judgement.membership.get(split.cuts)
    return verdict if sure is None else f"{verdict} {sure:.2f}"


def against(judgement: Judgement, split: Split, splits: Sequence[Split]) -> str:
    """Name who dominates a split that is off, or who contests one that is undecided."""
    names = {other.cuts: other.name for other in splits}
    if split.cuts in judgement.dominator:
        return f"dominated by {names[judgement.dominator[split.cuts]]}"
    if split.cuts in judgement.rival:
        return f"rival {names[judgement.rival[split.cuts]]}"
    return ""
