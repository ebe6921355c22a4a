"""One model's measurements and all that its page is made from, handed to every section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports import paper
from reports.data.cells import Cell, build
from reports.data.naming import Naming
from reports.data.records import Record, Records
from reports.data.tidy import csv, tidy
from reports.words import pairing_name

Section = dict[str, Any]  # id, title, template, and what that template shows


@dataclass(frozen=True)
class Sheet:
    """What a page is about; ``frame`` has every attempt, ``csv`` is its text."""

    records: Records
    frame: pd.DataFrame
    cells: Sequence[Cell]
    naming: Naming
    csv: str

    @classmethod
    def of(cls, records: Records) -> Sheet:
        """Gather the records into cells."""
        frame = tidy(records.runs)
        cells = build(records.plans, records.runs, frame)
        return cls(records, frame, cells, Naming.of(cells), csv(frame))

    @property
    def used(self) -> list[Record]:
        """The records of the runs that count."""
        runs = zip(self.records.runs, self.frame["counted"], strict=True)
        return [run for run, counts in runs if counts]

    @property
    def groups(self) -> list[list[Cell]]:
        """The cells that differ in nothing but the network, together."""
        groups: dict[tuple[Any, ...], list[Cell]] = {}
        for cell in self.cells:
            key = (cell.model, cell.backend, cell.engine, cell.allocators, cell.pairing)
            groups.setdefault(key, []).append(cell)
        return [*groups.values()]

    def heading(self, group: Sequence[Cell]) -> dict[str, Any]:
        """Return how every section names a group: title, what it runs over, whether unlocked."""
        first = group[0]
        return {
            "title": f"{paper.model_name(first.model)}, {pairing_name(first.pairing)}",
            "over": self.naming.over(first),
            "unlocked": any(cell.unlocked for cell in group),
        }
