"""Which splits more runs would decide, as further work for the runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reports.statistics.judge import Judgement

if TYPE_CHECKING:
    from reports.data.cells import Cell

FURTHER = 5


def undecided(
    cells: Sequence[Cell], judgements: Mapping[str, Judgement], limit: int = 20
) -> list[dict[str, Any]]:
    """Return for each cell its undecided splits and their rivals, and the repeats to bring them to.

    All splits of a cell are brought to the same number, so that they meet in the same blocks:
    five more than any of them has, at most ``limit``. A cell whose undecided splits have that
    many is left as it is.
    """
    asked = []
    for cell in cells:
        judgement = judgements[cell.id]
        open_ones = {cuts for cuts, said in judgement.verdict.items() if said == "undecided"}
        wanted = open_ones | {judgement.rival[cuts] for cuts in open_ones & judgement.rival.keys()}
        blocks = [
            value.block for split in cell.measured if split.cuts in wanted for value in split.values
        ]
        if blocks and max(blocks) < limit:
            asked.append(
                {
                    "cell_id": cell.id,
                    "splits": [list(cuts) for cuts in sorted(wanted)],
                    "repeats": min(limit, max(blocks) + FURTHER),
                }
            )
    return asked
