"""Latency against throughput, a chart a cell."""

from __future__ import annotations

from reports.page import charts, provenance
from reports.page.sheet import Section, Sheet
from reports.words import count, listing


def build(sheet: Sheet) -> list[Section]:
    """Return the Pareto fronts (the paper's Figs. 3 to 6)."""
    groups = [
        {
            **sheet.heading(group),
            "cells": [
                {
                    "scenario": cell.scenario,
                    "asked": provenance.asked(cell.asked),
                    "pareto": charts.pareto(cell) if cell.measured else "",
                    "front": listing([s.name for s in cell.front]) if cell.measured else "",
                    "measured": count(len(cell.measured), "split"),
                }
                for cell in group
            ],
        }
        for group in sheet.groups
    ]
    return [{"id": "fronts", "title": "Pareto fronts", "template": "fronts", "groups": groups}]
