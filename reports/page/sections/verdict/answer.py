"""Findings on a cell as labelled sentences, and what its measurements lack."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from reports.data.cells import Cell
from reports.page.figures import links
from reports.statistics.judge import Judgement
from reports.words import listing


@dataclass(frozen=True)
class Sentence:
    """A finding with its few-word title."""

    label: str
    text: Markup


def doubts(cell: Cell, judgement: Judgement) -> list[Sentence]:
    lines = []
    if shaky := [split for split in cell.measured if split.cuts in judgement.unreliable]:
        text = Markup("more than 20 % of the attempts were invalid: {}.").format(links(shaky))
        lines.append(Sentence("Unreliable", text))
    if cell.missing and cell.measured:
        done = len(cell.planned) - len(cell.missing)
        text = Markup("{} of {} planned splits measured; without a valid run: {}.").format(
            done, len(cell.planned), listing(cell.missing)
        )
        lines.append(Sentence("Incomplete", text))
    return lines
