"""How far the middle split moved between the two ends of a round: was the round one condition?"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from reports.data.reduce import SENTINEL
from reports.objectives import OBJECTIVES


@dataclass(frozen=True)
class Drift:
    """What a round's closing sentinel measured of its opening one, less 1."""

    round: int
    block_pass: int
    shifts: tuple[float, ...]  # of each required objective; none where not both are valid


def drifts(frame: pd.DataFrame) -> dict[str, tuple[Drift, ...]]:
    """Return the drifts of each cell, by round and pass; superseded passes too."""
    rows = frame[(frame["role"] == SENTINEL) & frame["repeat"].notna()]
    # Under other settings it says nothing about this cell's rounds.
    known = rows["excluded"].str.startswith(("sentinel", "superseded"))
    rows = rows.assign(usable=known).sort_values("attempt", kind="stable")
    # By cut points too: under other splits another one is in the middle.
    found: dict[tuple[str, int, int, str], dict[str, list[float]]] = {}
    names = ["cell_id", "repeat", "block_pass", "sentinel", "cuts"]
    figures = [objective.figure for objective in OBJECTIVES if objective.required]
    columns = (rows[key].tolist() for key in [*names, "usable", *figures])
    for cell, number, block_pass, end, cuts, usable, *values in zip(*columns, strict=True):
        ends = found.setdefault((cell, int(number), int(block_pass), str(cuts)), {})
        if usable and all(value > 0 for value in values):
            ends[str(end)] = values  # the latest attempt stays
    cells: dict[str, list[Drift]] = {}
    for key in sorted(found):
        cell, number, block_pass, _ = key
        ends = found[key]
        pairs = zip(ends.get("open", ()), ends.get("close", ()), strict=False)
        shifts = tuple(close / start - 1 for start, close in pairs)
        cells.setdefault(cell, []).append(Drift(number, block_pass, shifts))
    return {cell: tuple(every) for cell, every in cells.items()}
