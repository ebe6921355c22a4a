"""Gain of encoding tensors between hosts, codec by codec."""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
from markupsafe import Markup

from paretopipe_runtime.contract.codecs import CODECS, NONE
from paretopipe_runtime.contract.splits import codec_of
from paretopipe_runtime.judging.model import Floats
from reports.data.cells import Cell, Split
from reports.objectives import Objective
from reports.page.figures import link, lost
from reports.page.sections.verdict.answer import Sentence
from reports.words import number


def sentences(cell: Cell) -> list[Sentence]:
    """Compare each codec's best splits with the best without; nothing unless both were run."""
    by: dict[str, list[Split]] = {name: [] for name in CODECS}
    for split in cell.measured:
        by[codec_of(split.cuts)].append(split)
    plain = by.pop(NONE)
    found = ((name, own) for name, own in by.items() if own and plain)
    return [Sentence(f"Sent as {name}", _gain(cell, plain, own)) for name, own in found]


def _gain(cell: Cell, plain: Sequence[Split], own: Sequence[Split]) -> Markup:
    """Return 'P5 int8 0.210 s, 1.8× as fast as P9; …; hypervolume 1.3×'."""
    parts = []
    for one in cell.objectives[:2]:
        best, other = (
            min(some, key=lambda split: split.rank(one, *cell.objectives)) for some in (own, plain)
        )
        gained = _times(one.gain(best.median(one), other.median(one)))
        value = f"{number(best.median(one))}\N{NO-BREAK SPACE}{one.unit}"
        parts.append(
            Markup("{}{} {}, {} {} {}").format(
                *(link(best), lost(best, cell), value, gained, one.than, link(other))
            )
        )
    if area := covered(cell, plain, own, cell.objectives[:2]):
        parts.append(Markup("hypervolume {}").format(_times(area)))
    return Markup("{}.").format(Markup("; ").join(parts))


def _times(ratio: float) -> str:
    return f"{number(ratio, 3 if ratio < 1.1 else 2)}×"


def covered(
    cell: Cell, plain: Sequence[Split], own: Sequence[Split], objectives: Sequence[Objective]
) -> float | None:
    """Return the hypervolume of all these splits' front over that of `plain` alone.

    The volume that a front dominates up to a reference point (Zitzler and Thiele, "Multiobjective
    optimization using evolutionary algorithms", PPSN V, 1998), here the worst of all measured
    splits in each objective. None if `plain` covers nothing.
    """
    # Less is better, and a ratio stays one whatever the units.
    sign = np.array([1.0 if one.lower else -1.0 for one in objectives])

    def points(splits: Sequence[Split]) -> Floats:
        return sign * [[split.median(one) for one in objectives] for split in splits]

    worst = points(cell.measured).max(axis=0)
    before, after = (
        float(moocore.hypervolume(points(some), ref=worst)) for some in (plain, [*plain, *own])
    )
    return after / before if before else None
