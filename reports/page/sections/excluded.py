"""Excluded attempts with reasons, and files read."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.page.sheet import Section, Sheet
from reports.page.tables import Column, Entry, Row, Table
from reports.words import count, listing

# Listed once a cell: no single run explains it.
_TOGETHER = ("superseded", "sentinel", "settings")
# As many as a reader goes through; a failed sweep can have thousands.
_MOST = 200


def build(sheet: Sheet) -> list[Section]:
    left = sheet.frame[~sheet.frame["counted"]]
    kinds = left["excluded"].str.replace(r":.*", "", regex=True)
    alone = left[~kinds.isin(_TOGETHER)]
    used = sheet.frame.loc[sheet.frame["counted"], ["cell_id", "run_key"]]
    good = set(zip(*(used[key].tolist() for key in used), strict=True))
    return [
        {
            "id": "excluded",
            "title": "Left out",
            "total": len(left),
            "together": _together(left[kinds.isin(_TOGETHER)]),
            "reasons": _reasons(alone),
            "table": _table(alone.head(_MOST), good) if len(alone) else None,
            "more": f"{len(alone) - _MOST:,}" if len(alone) > _MOST else "",
            "files": sheet.records.files,
        }
    ]


def _together(rows: pd.DataFrame) -> list[dict[str, str]]:
    """Return a line per reason and cell, with runs and rounds."""
    # Every round has sentinels: they say nothing of a cell.
    places = rows["cell_id"].where(~rows["excluded"].str.startswith("sentinel"), "")
    return [
        {
            "cell": str(cell),
            "runs": count(len(part), "run"),
            "rounds": _rounds(part["repeat"]) if cell else "",
            "reason": str(reason).partition(":")[0],
            "why": str(reason).partition(":")[2],
        }
        for (cell, reason), part in rows.groupby([places, "excluded"], sort=True)
    ]


def _rounds(repeats: pd.Series) -> str:
    numbers = sorted({int(repeat) for repeat in repeats.dropna()})
    if not numbers:
        return ""
    return f"round{'s' if len(numbers) > 1 else ''} {listing([str(n) for n in numbers])}"


def _reasons(rows: pd.DataFrame) -> list[tuple[str, int]]:
    """Return kinds of exclusion with counts, most frequent first."""
    # The runtime's reasons are codes; this package's have text after a colon.
    kinds = rows["excluded"].str.replace(r"^(incomplete):.*", r"\1", regex=True)
    return [(str(kind), int(number)) for kind, number in kinds.value_counts().items()]


def _table(rows: pd.DataFrame, good: set[tuple[Any, Any]]) -> Table:
    words = ("Split", "Reason", "Message", "Valid later", "Run id")
    columns = [Column("Cell", ""), *(Column(word, "", numeric=False) for word in words)]
    columns[2:2] = [Column("Round", ""), Column("Attempt", "")]
    return Table(
        tuple(columns),
        tuple(
            Row(f"out-{number}", str(row["cell_id"]), tuple(_entries(row, good)))
            for number, row in enumerate(rows.to_dict("records"), start=1)
        ),
    )


def _entries(row: dict[Any, Any], good: set[tuple[Any, Any]]) -> list[Entry]:
    later = "yes" if (row["cell_id"], row["run_key"]) in good else "no"
    texts = (
        *(row["split"], row["repeat"], row["attempt"], row["excluded"]),
        *("" if pd.isna(row["message"]) else row["message"], later, row["run_key"]),
    )
    return [Entry(text, text) for text in (_plain(text) for text in texts)]


def _plain(value: Any) -> str:
    """Return a value as text: round numbers stay whole beside missing ones."""
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:g}"
    return str(value)
