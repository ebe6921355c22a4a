"""Parts of a batch's time, a bar a split."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from reports.data.cells import Cell, Split
from reports.page.draw import bars, canvas
from reports.page.sheet import Section, Sheet


def build(sheet: Sheet) -> list[Section]:
    def panel(cell: Cell) -> dict[str, Any]:
        return {"phases": cell.measured and bars.phases(cell, sheet.judgements[cell.id])}

    splits = [split for cell in sheet.cells for split in cell.measured]
    depth = max((len(split.stages) for split in splits), default=0)
    stages = [
        (f"stage {number}", canvas.PALETTE.index(canvas.stage_colour(number)))
        for number in range(1, depth + 1)
    ]
    return [
        {
            **{"id": "time", "title": "Where the time goes", "groups": sheet.panels(panel)},
            **{"stages": stages, "hops": _hops(splits), "chained": depth > 2},
        }
    ]


def _hops(splits: Sequence[Split]) -> list[str]:
    """Return 'pi1 → pi2' of each hop where there are chains; of two hosts alone 'network'."""
    named = [split.hops for split in splits if len(split.stages) > 2]
    found = [
        " or ".join(dict.fromkeys(hop for hop, _ in hops if hop))
        for hops in zip_longest(*named, fillvalue=("", None))
    ]
    if not named or any(len(split.stages) == 2 for split in splits):
        found[:1] = [", or ".join(["network", *found[:1]])]
    return found
