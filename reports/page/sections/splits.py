"""A table of all measurements a cell, and one of its unsplit runs."""

from __future__ import annotations

from reports.page import tables
from reports.page.draw import charts
from reports.page.sheet import Section, Sheet


def build(sheet: Sheet) -> list[Section]:
    groups = []
    for group in sheet.groups:
        cells = []
        for cell in group:
            drawn = frozenset(split.row_id for split in charts.drawn(cell))
            table = tables.build(cell, sheet.judgements[cell.id], sheet.valid)
            cells.append(
                {
                    "scenario": cell.scenario,
                    "table": tables.with_points(table, drawn),
                    "ends": tables.with_points(tables.end_points(cell, sheet.valid), drawn),
                }
            )
        groups.append({**sheet.heading(group), "cells": cells})
    return [{"id": "splits", "title": "All splits", "template": "splits", "groups": groups}]
