"""How far the middle split moved between the two ends of a block: was the block one condition?"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from reports.data.reduce import SENTINEL


@dataclass(frozen=True)
class Drift:
    """What a block's closing sentinel measured of its opening one, less 1; None: not both valid."""

    block: int
    block_pass: int
    latency: float | None
    throughput: float | None


def drifts(frame: pd.DataFrame) -> dict[str, tuple[Drift, ...]]:
    """Return the drifts of each cell, by block and pass; superseded passes too."""
    rows = frame[(frame["role"] == SENTINEL) & frame["repeat"].notna()]
    # Under other settings it says nothing about this cell's blocks.
    known = rows["excluded"].str.startswith(("sentinel", "superseded"))
    rows = rows.assign(usable=known).sort_values("attempt", kind="stable")
    # By cut points too: under other splits another one is in the middle.
    found: dict[tuple[str, int, int, str], dict[str, tuple[float, float]]] = {}
    names = ["cell_id", "repeat", "block_pass", "sentinel", "cuts"]
    measures = ["latency_s", "throughput_img_s", "usable"]
    columns = (rows[key].tolist() for key in [*names, *measures])
    for cell, block, block_pass, end, cuts, latency, throughput, usable in zip(
        *columns, strict=True
    ):
        ends = found.setdefault((cell, int(block), int(block_pass), str(cuts)), {})
        if usable and latency > 0 and throughput > 0:
            ends[str(end)] = latency, throughput  # the latest attempt stays
    cells: dict[str, list[Drift]] = {}
    for key in sorted(found):
        cell, block, block_pass, _ = key
        ends = found[key]
        opened, closed = ends.get("open"), ends.get("close")
        shifts = (
            [close / start - 1 for start, close in zip(opened, closed, strict=True)]
            if opened and closed
            else [None, None]
        )
        cells.setdefault(cell, []).append(Drift(block, block_pass, *shifts))
    return {cell: tuple(every) for cell, every in cells.items()}
