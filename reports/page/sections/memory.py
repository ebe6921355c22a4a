"""What the stages' processes held."""

from __future__ import annotations

from dataclasses import replace

from reports import paper
from reports.page import memory
from reports.page.sheet import Section, Sheet
from reports.words import pairing_name


def build(sheet: Sheet) -> list[Section]:
    """Return the hungriest splits and a table of all, where the records say it."""
    found = [
        {
            "title": ", ".join(
                (paper.model_name(cell.model), pairing_name(cell.pairing), cell.scenario)
            ),
            # The allocator has a column of its own.
            "over": replace(sheet.naming, allocators=False).over(cell),
            "whole": f"{paper.model_name(cell.model)}, {sheet.naming.place(cell)}",
            "unlocked": cell.unlocked,
            "worst": memory.worst(cell),
            "table": memory.build(cell),
        }
        for cell in sheet.cells
        if memory.known(cell)
    ]
    if not found:
        return []
    return [{"id": "memory", "title": "Memory", "template": "memory", "memory": found}]
