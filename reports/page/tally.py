"""How many attempts there were, how many count, and what the others were."""

from __future__ import annotations

import pandas as pd

from reports.words import count, listing

# Why attempts do not count, by how the reason begins; the rest failed or are invalid.
_OTHERS = {
    "sentinel": "watched a block",
    "superseded": "measured again later",
    "settings": "under other settings",
    "skipped": "skipped",
}


def tally(frame: pd.DataFrame) -> str:
    """Return '400 runs count, of 442 attempts: 40 watched a block, 2 failed or are invalid'."""
    counted = int(frame["counted"].sum())
    text = f"{count(counted, 'run')} count, of {count(len(frame), 'attempt')}"
    kinds = frame.loc[~frame["counted"], "excluded"].str.extract("^([a-z]+)")[0]
    parts = [
        f"{number:,} {said}"
        for key, said in _OTHERS.items()
        if (number := int((kinds == key).sum()))
    ]
    if bad := int((~kinds.isin([*_OTHERS])).sum()):
        parts.append(f"{bad:,} failed or are invalid")
    return f"{text}: {listing(parts)}" if parts else text
