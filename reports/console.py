"""The verdict in plain text: a few lines a cell, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from reports.data.cells import Cell
from reports.page.figures import attempts
from reports.page.sections.verdict import splitting
from reports.page.sections.verdict.answer import compromise
from reports.page.sheet import Sheet
from reports.words import asked, number


def text(sheets: Sequence[Sheet]) -> str:
    return "".join(f"{line}\n" for sheet in sheets for line in lines(sheet))


def lines(sheet: Sheet) -> list[str]:
    """Return a model's answers, without markup."""
    found = []
    for group in sheet.groups:
        heading = sheet.heading(group)
        over = f" ({heading['over']})" if heading["over"] else ""
        found += [f"{heading['title']}{over}", *(f"  {_answer(sheet, cell)}" for cell in group)]
    return [*found, f"{attempts(sheet.frame)}."]


def _answer(sheet: Sheet, cell: Cell) -> str:
    network = f"{cell.scenario} ({asked(cell.asked)})"
    if not cell.measured:
        return f"{network}: no valid run yet"
    bests = [(one, cell.best(one)) for one in cell.objectives]
    parts = [
        *(f"{one.title.lower()} {b.name}, {number(b.median(one))} {one.unit}" for one, b in bests),
        f"balanced {compromise(cell).name}",
        f"splitting {splitting.short(cell, sheet.contests[cell.id])}",
    ]
    return f"{network}: {'; '.join(parts)}"
