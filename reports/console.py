"""The verdict in plain text: a few lines a cell, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from reports.data.cells import Cell
from reports.page.figures import attempts
from reports.page.sections.verdict import decision
from reports.page.sheet import Sheet
from reports.words import asked


def text(sheets: Sequence[Sheet]) -> str:
    return "".join(f"{line}\n" for sheet in sheets for line in lines(sheet))


def lines(sheet: Sheet) -> list[str]:
    """Return a model's decisions, without markup."""
    found = []
    for group in sheet.groups:
        heading = sheet.heading(group)
        over = f" ({heading['over']})" if heading["over"] else ""
        found.append(f"{heading['title']}{over}")
        found += [f"  {line}" for cell in group for line in _decision(sheet, cell)]
    return [*found, f"{attempts(sheet.frame)}."]


def _decision(sheet: Sheet, cell: Cell) -> list[str]:
    """Return a line with the pick and one with all else."""
    first, *rest = decision.sentences(cell, sheet)
    told = " ".join(f"{one.label}: {_plain(one.text)}" for one in rest)
    pick = f"{cell.scenario} ({asked(cell.asked)}): {_plain(first.text)}"
    return [pick, f"  {told}"] if told else [pick]


def _plain(text: Markup) -> str:
    return text.striptags().replace("\N{NO-BREAK SPACE}", " ")
