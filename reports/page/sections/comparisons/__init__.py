"""Comparisons of cells that differ in one factor: backend, transport, engine, allocator, device.

A new factor needs what it compares, in ``contract.factors``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from paretopipe_runtime.contract.factors import (
    ALLOCATOR,
    BACKEND,
    DEVICE,
    ENGINE,
    FACTORS,
    TRANSPORT,
    Factor,
)
from reports import paper
from reports.data.cells import Cell
from reports.data.factors import Naming, phrase
from reports.page.draw.canvas import PALETTE, stage_colour
from reports.page.figures import error
from reports.page.sections.comparisons import breakdown, compare, contrast
from reports.page.sections.comparisons.compare import Comparison
from reports.page.sheet import Section, Sheet
from reports.words import listing, percent

_TITLES = {TRANSPORT.key: "Plain and encrypted compared"}
_LEADS = {
    BACKEND.key: (
        "The same splits, moved by another backend. The paper's Fig. 7 has "
        f"{percent(paper.LESS_LATENCY_THAN_RPC)} less latency and "
        f"{percent(paper.MORE_THROUGHPUT_THAN_RPC)} more throughput with sockets, against an RPC "
        "that sent every tensor through the orchestrator, one batch at a time. Here stages hand "
        "tensors to each other, several batches are in flight, and only what is named as going "
        "through the orchestrator has the paper's layout."
    ),
    TRANSPORT.key: (
        "The same splits on the same hosts, over plain TCP and over TLS 1.3, which encrypts "
        "every byte between the hosts. Hosts encrypt beside computing; the cipher stands under "
        "provenance."
    ),
    ENGINE.key: (
        "The same blocks on the same hosts, computed by another engine, whose output is compared "
        "with the unsplit model's in PyTorch eager within its own tolerance."
    ),
    ALLOCATOR.key: (
        "The same code under two settings of the C library's malloc. Tuned, it keeps a batch's "
        "memory for the next: time saved for memory kept."
    ),
    DEVICE.key: (
        "The same blocks on the same hosts, computed by a GPU or by the processor. A GPU's compute "
        "time has the copies to it and back."
    ),
}


def build(sheet: Sheet) -> list[Section]:
    cells = sheet.cells
    sections = []
    for factor in FACTORS:
        found = compare.find(cells, factor) if factor.compared else []
        between = factor.compared and not factor.per_host
        missed = compare.unmatched(_could(cells, factor), factor) if between else []
        if found or missed:
            sections.append(
                {
                    "id": f"{factor.option}s",
                    "title": _TITLES.get(factor.key, f"{factor.option.capitalize()}s compared"),
                    "lead": _LEADS.get(factor.key, f"The same splits, by {factor.title.lower()}."),
                    "unmatched": missed,
                    "delta": percent(sheet.delta),
                    "items": [
                        _item(comparison, sheet.frame, sheet.naming, sheet.delta)
                        for comparison in found
                    ],
                }
            )
    return sections


def _could(cells: Sequence[Cell], factor: Factor) -> list[Cell]:
    """Return cells that may have a counterpart: PyTorch RPC has no other transport."""
    return [
        cell for cell in cells if factor is not TRANSPORT or cell.variant["backend"] == "socket"
    ]


def _item(
    comparison: Comparison, frame: pd.DataFrame, naming: Naming, delta: float
) -> dict[str, Any]:
    cell = comparison.cell
    drawn = contrast.draw(comparison, frame, delta)
    kinds = (cell, *(rival.cell for rival in comparison.rivals))
    # The heading names what is equal, the legend what differs.
    over = naming.without(comparison.factor).over(cell)
    place = f"{paper.model_name(cell.model)}, {cell.over_hosts}, {cell.scenario}"
    return {
        "title": place,
        "over": over,
        "sentences": contrast.sentences(drawn),
        "proofs": _proofs(comparison, frame) if comparison.factor is ENGINE else "",
        "legend": [
            {
                "marker": contrast.marker(number),
                "colour": PALETTE.index(stage_colour(number + 1)),
                "name": phrase(comparison.factor, kind),
                "unlocked": kind.unlocked,
            }
            for number, kind in enumerate(kinds)
        ],
        "charts": [
            (measure.label, contrast.chart(comparison, measure)) for measure in comparison.measures
        ],
        "table": contrast.table(drawn),
        "breakdown": breakdown.of(comparison) if comparison.factor is BACKEND else None,
    }


def _proofs(comparison: Comparison, frame: pd.DataFrame) -> str:
    counted = frame.loc[frame["counted"], ["cell_id", "max_rel_err", "tolerance"]]
    ids = (comparison.cell.id, *(rival.cell.id for rival in comparison.rivals))
    said = [
        f"{name} {error(counted[counted['cell_id'] == cell_id])}"
        for cell_id, (name, _) in zip(ids, comparison.columns, strict=True)
    ]
    return f"Largest relative error of the output against the unsplit model: {listing(said)}."
