"""Front verdicts as signs and words."""

from __future__ import annotations

from collections.abc import Sequence

from reports.data.cells import Cell, Split
from reports.statistics.judge import Judgement

VERDICTS = ("on", "undecided", "off")
SIGNS = {"on": "◆", "undecided": "▲", "off": "●"}


def of(judgement: Judgement, verdict: str, cell: Cell) -> list[Split]:
    """Return measured splits with a verdict, by the first objective."""
    found = [split for split in cell.measured if judgement.verdict[split.cuts] == verdict]
    return sorted(found, key=lambda split: (split.rank(cell.objectives[0]), split.cuts))


def said(judgement: Judgement, split: Split) -> str:
    """Return 'on 0.97': verdict, and probability if known."""
    verdict, sure = judgement.verdict[split.cuts], judgement.membership.get(split.cuts)
    return verdict if sure is None else f"{verdict} {sure:.2f}"


def against(judgement: Judgement, split: Split, splits: Sequence[Split]) -> str:
    """Name dominators of an off split, contesters of an undecided one."""
    names = {other.cuts: other.name for other in splits}
    if split.cuts in judgement.dominator:
        return f"dominated by {names[judgement.dominator[split.cuts]]}"
    if split.cuts in judgement.rival:
        return f"rival {names[judgement.rival[split.cuts]]}"
    return ""
