"""Who is on the front, undecided or off: the same sign and words everywhere."""

from __future__ import annotations

from collections.abc import Sequence

from reports.data.cells import Cell, Split
from reports.statistics.judge import Judgement

VERDICTS = ("on", "undecided", "off")
SIGNS = {"on": "◆", "undecided": "▲", "off": "●"}


def of(judgement: Judgement, verdict: str, cell: Cell) -> list[Split]:
    """Return the measured splits with this verdict, by the first objective."""
    found = [split for split in cell.measured if judgement.verdict[split.cuts] == verdict]
    return sorted(found, key=lambda split: (split.rank(cell.objectives[0]), split.cuts))


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
