"""Everything measured, a row a split."""

from __future__ import annotations

from reports.page import tables
from reports.page.sheet import Section, Sheet


def build(sheet: Sheet) -> list[Section]:
    """Return a table a cell."""
    groups = [
        {
            **sheet.heading(group),
            "cells": [{"scenario": cell.scenario, "table": tables.build(cell)} for cell in group],
        }
        for group in sheet.groups
    ]
    return [{"id": "splits", "title": "All splits", "template": "splits", "groups": groups}]
