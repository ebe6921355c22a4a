"""Parts of a batch's time, a bar a split."""

from __future__ import annotations

from collections.abc import Sequence

from reports.data.cells import Cell
from reports.page.draw import canvas, charts
from reports.page.sections import provenance
from reports.page.sheet import Section, Sheet


def build(sheet: Sheet) -> list[Section]:
    groups = [
        {
            **sheet.heading(group),
            "cells": [
                {
                    "scenario": cell.scenario,
                    "asked": provenance.asked(cell.asked),
                    "phases": charts.phases(cell, sheet.judgements[cell.id])
                    if cell.measured
                    else "",
                }
                for cell in group
            ],
        }
        for group in sheet.groups
    ]
    return [
        {
            **{"id": "time", "title": "Where the time goes", "template": "time"},
            "groups": groups,
            "stages": _legend(sheet.cells),
        }
    ]


def _legend(cells: Sequence[Cell]) -> list[tuple[str, int]]:
    depth = max((len(split.stages) for cell in cells for split in cell.measured), default=0)
    return [
        (f"stage {number}", canvas.PALETTE.index(charts.stage_colour(number)))
        for number in range(1, depth + 1)
    ]
