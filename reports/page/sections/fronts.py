"""Latency against throughput, a chart a cell."""

from __future__ import annotations

from typing import Any

from reports.data.cells import Cell
from reports.page import goals
from reports.page.draw import charts
from reports.page.figures import latency, link, links, margin, throughput
from reports.page.sections import provenance
from reports.page.sheet import Section, Sheet
from reports.statistics.judge import Judgement
from reports.words import count, percent


def build(sheet: Sheet) -> list[Section]:
    """Return the Pareto fronts (the paper's Figs. 3 to 6)."""
    groups = [
        {
            **sheet.heading(group),
            "cells": [_panel(cell, sheet.judgements[cell.id]) for cell in group],
        }
        for group in sheet.groups
    ]
    section = {"id": "fronts", "title": "Pareto fronts", "template": "fronts", "groups": groups}
    return [{**section, "delta": margin(sheet.delta)}]


def _panel(cell: Cell, judgement: Judgement) -> dict[str, Any]:
    place = {"scenario": cell.scenario, "asked": provenance.asked(cell.asked)}
    if not cell.measured:
        return {**place, "pareto": ""}
    drawn = charts.near(cell)
    return {
        **place,
        "pareto": charts.pareto(cell, judgement),
        "members": [
            (goals.SIGNS[verdict], verdict, links(splits, limit=12))
            for verdict in ("on", "undecided")
            if (splits := goals.of(judgement, verdict, cell))
        ],
        "off": count(len(goals.of(judgement, "off", cell)), "split"),
        "strict": links(judgement.front(cell), limit=12),
        "worth": _worth(cell, judgement),
        "afar": [
            (link(end), latency(end), throughput(end))
            for end in cell.end_points
            if end.runs and end not in drawn
        ],
    }


def _worth(cell: Cell, judgement: Judgement) -> str:
    """Say how small a difference these runs can tell, and how much of the possible is reached."""
    counts = sorted({split.runs for split in cell.measured})
    runs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    seen = judgement.detectable_latency, judgement.detectable_throughput
    if seen[0] is None or seen[1] is None:
        text = f"Nothing can be decided: {judgement.reason}."
    else:
        text = (
            f"With {runs} runs a split, the smallest difference likely to be seen is "
            f"{percent(seen[0])} in latency and {percent(seen[1])} in throughput."
        )
    if judgement.hypervolume is not None:
        text += f" Hypervolume {judgement.hypervolume:.3f}."
    if counts[-1] > charts.DOTS:
        text += f" Of a split with more than {charts.DOTS} runs, the single runs are not drawn."
    return text
