"""Which splits more runs would decide, as further work for the runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.data.cells import Cell
from reports.statistics.judge import Judgement

FURTHER = 5


def undecided(
    cells: Sequence[Cell], judgements: Mapping[str, Judgement], limit: int = 20
) -> list[dict[str, Any]]:
    """Return for each cell its undecided splits and their rivals, and the repeats to bring them to.

    They meet in the same blocks, as many as the undecided one with the fewest runs needs for
    five more, at most ``limit``. A cell whose undecided splits have that many is left as it is.
    """
    asked = []
    for cell in cells:
        judgement = judgements[cell.id]
        open_ones = {cuts for cuts, said in judgement.verdict.items() if said == "undecided"}
        wanted = open_ones | {judgement.rival[cuts] for cuts in open_ones & judgement.rival.keys()}
        runs = [split.runs for split in cell.measured if split.cuts in open_ones]
        if runs and min(runs) < limit:
            asked.append(
                {
                    "cell_id": cell.id,
                    "splits": [list(cuts) for cuts in sorted(wanted)],
                    "repeats": min(limit, min(runs) + FURTHER),
                }
            )
    return asked
