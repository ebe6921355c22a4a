"""Accuracy lines of records, joined to the splits of their cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from paretopipe_runtime.contract.accuracy import MARGIN, Accuracy
from paretopipe_runtime.contract.codecs import NONE
from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.splits import Cuts, codec_of
from paretopipe_runtime.contract.values import NAME, clean
from reports.data.cells import Cell, Split, Spread
from reports.objectives import ACCURACY


def joined(cells: Iterable[Cell], lines: Sequence[Record], margin: float = MARGIN) -> list[Cell]:
    """Return cells with what lines say of their own weights; of one split, the latest.

    `margin`: points whose loss does not matter.
    """
    known = (replace(cell, accuracy_margin=margin) for cell in cells)
    return [_joined(cell, lines) if lines else cell for cell in known]


def _joined(cell: Cell, lines: Sequence[Record]) -> Cell:
    digest: Any = cell.settings.get("weights_digest") or cell.plan.get("weights_digest")
    own = [line for line in lines if (line["cell_id"], line["weights_digest"]) == (cell.id, digest)]
    reasons = [clean(line["reason"], 10 * NAME) for line in own if line.get("reason")]
    reason = reasons[-1] if reasons else ""
    known = (Accuracy.from_json(line) for line in own if not line.get("reason"))
    found = {one.cuts: one for one in known}
    if not found:
        return replace(cell, unjudged=reason)
    # Whole, the network is the same in each.
    unsplit = next(iter(found.values())).unsplit_percent

    def of(split: Split) -> Split:
        known = found[split.cuts].percent if split.cuts in found else _plain(split.cuts, unsplit)
        if known is None:
            return split
        figures = {**split.figures, ACCURACY.figure: Spread(known, known, known, 1)}
        return replace(split, figures=figures)

    ends = tuple(map(of, cell.end_points))
    splits = tuple(map(of, cell.splits))
    return replace(cell, splits=splits, end_points=ends, accuracies=found, unjudged=reason)


def _plain(cuts: Cuts, unsplit: float) -> float | None:
    return unsplit if codec_of(cuts) == NONE else None
