"""The attempts that do not count, why, and the files that were read."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.page.sheet import Section, Sheet


def build(sheet: Sheet) -> list[Section]:
    """Return every attempt left out."""
    return [
        {
            **{"id": "excluded", "title": "Left out", "template": "excluded"},
            "excluded": _excluded(sheet.frame),
            "reasons": _reasons(sheet.frame),
            "files": sheet.records.files,
        }
    ]


def _excluded(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows = frame[~frame["counted"]]
    used = frame[frame["counted"]]
    good = set(zip(used["cell_id"], used["run_key"], strict=True))
    return [
        {
            **{str(key): value for key, value in row.items()},
            "message": "" if pd.isna(row["message"]) else row["message"],
            "again": "yes" if (row["cell_id"], row["run_key"]) in good else "no",
        }
        for row in rows.to_dict("records")
    ]


def _reasons(frame: pd.DataFrame) -> list[tuple[str, int]]:
    """Return each kind of exclusion with its number, most frequent first."""
    # The runtime's own reasons are codes; what this package adds explains itself after a colon.
    kinds = frame[~frame["counted"]]["excluded"].str.replace(
        r"^(settings|incomplete|superseded):.*", r"\1", regex=True
    )
    return [(str(kind), int(number)) for kind, number in kinds.value_counts().items()]
