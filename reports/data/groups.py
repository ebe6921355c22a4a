"""Aggregates of the table by cell, role and cut points, all in one pass; sentinels' by round.

One second for 100,000 rows; a query per number takes minutes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pandas as pd

from paretopipe_runtime.contract import measures
from paretopipe_runtime.prediction.spread import Spread
from reports.data.reduce import SENTINEL
from reports.data.selection import PHASES
from reports.objectives import OBJECTIVES

Key = tuple[str, str, str]  # cell id, role, cut points as `dashed`
_KEYS = ["cell_id", "role", "cuts"]


@dataclass(frozen=True)
class Drift:
    """Closing over opening sentinel, less 1."""

    round: int
    block_pass: int
    shifts: tuple[float, ...]  # of each required objective; empty unless both are valid


class Groups:
    """All attempts but sentinels, by cell, role and cut points.

    ``tried``: attempts, ``bad``: those of them that failed or are invalid. ``values``: objectives
    and ``repeat`` of every counted run, sorted by the latter. ``unlocked``: cells with a counted
    run that lacked authentication.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        rows = frame[frame["role"] != SENTINEL]
        counted = rows[rows["counted"]]
        texts = rows.groupby(_KEYS, sort=False)[["split", *_parts(rows, text=True)]].first()
        self._first = _table(texts)
        # Not runs that never started, nor those under other settings.
        tried = ~rows["excluded"].str.startswith(("skipped", "settings"))
        self.tried = tried.groupby([rows[key] for key in _KEYS]).sum().to_dict()
        bad = rows["excluded"].str.startswith(("invalid", "failed", "incomplete"))
        self.bad = bad.groupby([rows[key] for key in _KEYS]).sum().to_dict()
        self._phases = _table(counted.groupby(_KEYS, sort=False)[[*PHASES]].first())
        numbers = counted[[*OF_RUN, *_parts(counted, text=False)]].apply(
            pd.to_numeric, errors="coerce"
        )
        grouped = numbers.groupby([counted[key] for key in _KEYS], sort=False)
        sums = (grouped.median(), grouped.min(), grouped.max(), grouped.count())
        self._spreads = [_table(part) for part in sums]
        own = ["repeat", *_FIGURES]
        ordered = counted[[*_KEYS, *own]].sort_values("repeat", kind="stable")
        self.values = {
            key: {name: tuple(part[name].tolist()) for name in own}
            for key, part in ordered.groupby(_KEYS, sort=False)
        }
        cells: dict[str, list[Key]] = defaultdict(list)
        for key in self._first:
            cells[key[0]].append(key)
        self._cells = cells
        self.unlocked = set(counted[counted["security"] == "rpc-insecure"]["cell_id"])

    def of(self, cell_id: str, role: str) -> list[Key]:
        """Return a cell's keys of one role, in order of appearance."""
        return [key for key in self._cells.get(cell_id, []) if key[1] == role]

    def first(self, key: Key, column: str) -> str | None:
        """Return the first text of any attempt."""
        return _text(self._first.get(key, {}).get(column))

    def phases(self, key: Key) -> tuple[str, ...]:
        """Return the batches per phase."""
        return tuple(_text(self._phases.get(key, {}).get(name)) or "?" for name in PHASES)

    def spread(self, key: Key, column: str) -> Spread | None:
        """Return a column's spread over the counted runs."""
        middle, low, high, n = (part.get(key, {}).get(column) for part in self._spreads)
        if not n or middle is None or low is None or high is None:
            return None
        return Spread(float(middle), float(low), float(high), int(n))


def drifts(frame: pd.DataFrame) -> dict[str, tuple[Drift, ...]]:
    """Return each cell's drifts by round and pass, superseded passes included."""
    names = ["cell_id", "repeat", "block_pass", "sentinel", "cuts"]
    figures = [objective.figure for objective in OBJECTIVES if objective.required]
    sentinels = (frame["role"] == SENTINEL) & frame["repeat"].notna()
    rows = frame.loc[sentinels, [*names, *figures, "excluded", "attempt"]]
    # Not those under other settings.
    known = rows["excluded"].str.startswith(("sentinel", "superseded"))
    rows = rows.assign(usable=known).sort_values("attempt", kind="stable")
    # By cut points too: another plan's middle split is another.
    found: dict[tuple[str, int, int, str], dict[str, list[float]]] = {}
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


_PART = re.compile(r"(?:stage|hop)\d+_(.+)")
_FIGURES = [objective.figure for objective in OBJECTIVES]
#: Figures of a whole run that a split has a median of.
OF_RUN = [figure.name for figure in measures.of("run") if figure.heading]


def _parts(frame: pd.DataFrame, text: bool) -> list[str]:
    """Return the columns of stages and hops that hold texts, or numbers."""
    parts = ((column, _PART.match(column)) for column in frame.columns)
    return [column for column, part in parts if part and measures.named(part[1]).is_text is text]


def _table(grouped: pd.DataFrame) -> dict[Key, dict[str, Any]]:
    rows = zip(*(grouped[column].tolist() for column in grouped.columns), strict=True)
    names = [str(column) for column in grouped.columns]
    return {
        key: dict(zip(names, row, strict=True))
        for key, row in zip(grouped.index.tolist(), rows, strict=True)
    }


def _text(value: Any) -> str | None:
    if value is None or pd.isna(value):
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
