"""How everything was measured and what the words mean, with this sheet's own figures."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from reports.data.cells import Cell
from reports.page import notes
from reports.page.figures import margin
from reports.page.sheet import Section, Sheet
from reports.prediction.predictor import Predictor
from reports.statistics.interval import coverage_percent
from reports.statistics.judge import DRAWS, INVALID_SHARE, OFF_TO, ON_FROM, OUTLYING
from reports.words import count, listing, percent


def build(sheet: Sheet) -> list[Section]:
    """Return the methods."""
    cells = sheet.cells
    repeats = sorted({split.runs for cell in cells for split in cell.measured})
    return [
        {
            **{"id": "methods", "title": "Methods", "template": "methods"},
            "proof": notes.proof(sheet.frame),
            "repeats": listing([f"{runs} ({coverage_percent(runs):g} %)" for runs in repeats])
            if repeats
            else "",
            "five": coverage_percent(5),
            "sentinel": _sentinel(cells),
            "delta": margin(sheet.delta),
            "sure": f"{ON_FROM:g}",
            "unsure": f"{OFF_TO:g}",
            "draws": f"{DRAWS:,}",
            "outlying": f"{OUTLYING:g}",
            "outliers": count(
                sum(len(sheet.judgements[cell.id].outliers) for cell in cells), "run"
            ),
            "share": margin(INVALID_SHARE),
            "attempts": f"{len(sheet.frame):,}",
            "counted": f"{int(sheet.frame['counted'].sum()):,}",
            "emulated": any(cell.emulation for cell in cells),
            "predicted": any(isinstance(p, Predictor) for p in sheet.predictors.values()),
        }
    ]


def _sentinel(cells: Sequence[Cell]) -> str:
    """Say how much the blocks drifted, and what came of it."""
    drifts = [(cell, drift) for cell in cells for drift in cell.drifts]
    known = [
        (cell, drift)
        for cell, drift in drifts
        if drift.latency is not None and drift.throughput is not None
    ]
    if not drifts:
        return "These sweeps had none, so a drift within a block would not be seen."
    if not known:
        return "No block has both of its sentinels valid, so a drift would not be seen."
    shifts = [max(abs(d.latency or 0.0), abs(d.throughput or 0.0)) for _, d in known]
    again = sum(drift.block_pass > 1 for _, drift in drifts)
    limits = _stated(cells, "drift_limit")
    over = sum(
        shift > limit
        for (cell, _), shift in zip(known, shifts, strict=True)
        if (limit := float(cell.plan.get("drift_limit") or 0.0))
    )
    text = (
        f"Over {count(len(known), 'pair')} of sentinels it moved by {percent(median(shifts))} in "
        f"the median and {percent(max(shifts))} at most"
    )
    if limits:
        text += (
            f"; the limit is {listing([margin(float(limit)) for limit in limits])}: "
            f"{over} beyond it, {count(again, 'block')} measured once more"
        )
    if unseen := len(drifts) - len(known):
        text += f"; in {unseen:,} of {len(drifts):,} passes a sentinel is missing or not valid"
    return f"{text}."


def _stated(cells: Sequence[Cell], key: str) -> list[Any]:
    """Return the different values that the plans state, those that are nothing left out."""
    return [*dict.fromkeys(str(cell.plan[key]) for cell in cells if cell.plan.get(key))]
