"""The table of all attempts, summed up by cell, role and cut points in one go.

Asking a table of 100,000 rows once for each number of each split takes minutes; this takes a
second for all of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pandas as pd

from paretopipe_runtime.contract import measures
from reports.data.reduce import SENTINEL
from reports.data.selection import PHASES
from reports.objectives import OBJECTIVES

Key = tuple[str, str, str]  # cell id, role, cut points joined by dashes
_KEYS = ["cell_id", "role", "cuts"]


@dataclass(frozen=True)
class Spread:
    """The median of n runs with the lowest and the highest of them."""

    median: float
    low: float
    high: float
    n: int

    def scaled(self, factor: float) -> Spread:
        """Return the same in another unit."""
        return Spread(self.median * factor, self.low * factor, self.high * factor, self.n)


class Groups:
    """Every attempt that is no sentinel, by cell, role and cut points."""

    def __init__(self, frame: pd.DataFrame) -> None:
        rows = frame[frame["role"] != SENTINEL]
        counted = rows[rows["counted"]]
        texts = rows.groupby(_KEYS, sort=False)[["split", *_texts(rows)]].first()
        self._first = _table(texts)
        # Neither a run never started nor one under other settings was an attempt at this.
        tried = ~rows["excluded"].str.startswith(("skipped", "settings"))
        self._tried = tried.groupby([rows[key] for key in _KEYS]).sum().to_dict()
        bad = rows["excluded"].str.startswith(("invalid", "failed", "incomplete"))
        self._bad = bad.groupby([rows[key] for key in _KEYS]).sum().to_dict()
        self._phases = _table(counted.groupby(_KEYS, sort=False)[[*PHASES]].first())
        numbers = counted[_numbers(counted)].apply(pd.to_numeric, errors="coerce")
        grouped = numbers.groupby([counted[key] for key in _KEYS], sort=False)
        sums = (grouped.median(), grouped.min(), grouped.max(), grouped.count())
        self._spreads = [_table(part) for part in sums]
        own = ["repeat", *_FIGURES]
        ordered = counted[[*_KEYS, *own]].sort_values("repeat", kind="stable")
        self._values = {
            key: {name: tuple(part[name].tolist()) for name in own}
            for key, part in ordered.groupby(_KEYS, sort=False)
        }
        cells: dict[str, list[Key]] = defaultdict(list)
        for key in self._first:
            cells[key[0]].append(key)
        self._cells = cells
        self._unlocked = set(counted[counted["security"] == "rpc-insecure"]["cell_id"])

    def of(self, cell_id: str, role: str) -> list[Key]:
        """Return what was attempted in a cell, in order of appearance."""
        return [key for key in self._cells.get(cell_id, []) if key[1] == role]

    def first(self, key: Key, column: str) -> str | None:
        """Return the first text that the attempts state, counted or not."""
        return _text(self._first.get(key, {}).get(column))

    def phases(self, key: Key) -> tuple[str, ...]:
        """Return how many batches the counted runs had in each phase."""
        return tuple(_text(self._phases.get(key, {}).get(name)) or "?" for name in PHASES)

    def spread(self, key: Key, column: str) -> Spread | None:
        """Return median, lowest and highest of the counted runs, or None without any."""
        median, low, high, n = (part.get(key, {}).get(column) for part in self._spreads)
        if not n or median is None or low is None or high is None:
            return None
        return Spread(float(median), float(low), float(high), int(n))

    def values(self, key: Key) -> dict[str, tuple[float, ...]]:
        """Return the objectives of every counted run, and its ``repeat``: by that."""
        return self._values.get(key, {})

    def attempts(self, key: Key) -> int:
        """Return how many times this was tried, under whatever came of it."""
        return int(self._tried.get(key, 0))

    def invalid(self, key: Key) -> int:
        """Return how many attempts failed, are invalid or measured nothing usable."""
        return int(self._bad.get(key, 0))

    def unlocked(self, cell_id: str) -> bool:
        """Whether a backend without authentication was open during a counted run."""
        return cell_id in self._unlocked


def spread(rows: pd.DataFrame, column: str) -> Spread | None:
    """Return median, lowest and highest of a column, or None where nothing was measured."""
    if column not in rows:
        return None
    values = pd.to_numeric(rows[column], errors="coerce").dropna()
    if values.empty:
        return None
    return Spread(float(values.median()), float(values.min()), float(values.max()), len(values))


_PART = re.compile(r"(?:stage|hop)\d+_(.+)")
_FIGURES = [objective.figure for objective in OBJECTIVES]
#: Figures of a whole run that a split has a median of.
OF_RUN = [figure.name for figure in measures.of("run") if figure.heading]


def _texts(frame: pd.DataFrame) -> list[str]:
    return [
        c for c in frame.columns if (part := _PART.match(c)) and measures.named(part[1]).is_text
    ]


def _numbers(frame: pd.DataFrame) -> list[str]:
    parts = [
        c for c in frame.columns if (part := _PART.match(c)) and not measures.named(part[1]).is_text
    ]
    return [*OF_RUN, *parts]


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
