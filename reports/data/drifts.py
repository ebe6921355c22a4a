"""Shifts of the sentinel between the two ends of a round."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from reports.data.reduce import SENTINEL
from reports.objectives import OBJECTIVES


@dataclass(frozen=True)
class Drift:
    """Closing over opening sentinel, less 1."""

    round: int
    block_pass: int
    shifts: tuple[float, ...]  # of each required objective; empty unless both are valid


def drifts(frame: pd.DataFrame) -> dict[str, tuple[Drift, ...]]:
    """Return each cell's drifts by round and pass, superseded passes included."""
    rows = frame[(frame["role"] == SENTINEL) & frame["repeat"].notna()]
    # Not those under other settings.
    known = rows["excluded"].str.startswith(("sentinel", "superseded"))
    rows = rows.assign(usable=known).sort_values("attempt", kind="stable")
    # By cut points too: another plan's middle split is another.
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
