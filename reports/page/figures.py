"""Figures in a sentence: a median with its range, a ratio, a list of splits, a tally of runs."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from markupsafe import Markup

from reports.data.cells import Cell, Split, Spread
from reports.words import count, decimals, listing, number, percent, power

LATENCY, THROUGHPUT = "s", "images/s"


def spread(value: Spread | None, unit: str = "") -> str:
    """Return '1.82 s [1.79, 1.86]': the median, then the lowest and the highest run."""
    if value is None:
        return "–"
    places = decimals(value.median)
    low, high = (f"{end:,.{places}f}" for end in (value.low, value.high))
    measure = f"{number(value.median)}\N{NO-BREAK SPACE}{unit}" if unit else number(value.median)
    return f"{measure} [{low},\N{NO-BREAK SPACE}{high}]"


def latency(split: Split) -> str:
    """Return the latency with its range and unit."""
    return spread(split.latency_s, LATENCY)


def throughput(split: Split) -> str:
    """Return the throughput with its range and unit."""
    return spread(split.throughput_img_s, THROUGHPUT)


def fastest(cell: Cell) -> Split:
    """Return the measured split with the lowest median latency (ties: more throughput)."""
    return min(cell.measured, key=lambda split: (split.latency, -split.throughput, split.cuts))


def busiest(cell: Cell) -> Split:
    """Return the measured split with the highest median throughput (ties: less latency)."""
    return min(cell.measured, key=lambda split: (-split.throughput, split.latency, split.cuts))


def later(loss: float) -> str:
    """Return '28 % more than', from twice as much on '3.2 times'."""
    return f"{percent(loss)} more than" if loss < 1 else times(1 + loss)


def less(loss: float) -> str:
    """Return '20 % less than' for a rate that is beaten by the factor 1 + loss."""
    return f"{percent(1 - 1 / (1 + loss))} less than"


def slower(loss: float) -> str:
    """Return '28 % more latency than', from twice as much on '3.2 times the latency of'."""
    return (
        later(loss).replace("more", "more latency") if loss < 1 else f"{later(loss)} the latency of"
    )


def fewer(loss: float) -> str:
    """Return '20 % less throughput than' for a rate that is beaten by the factor 1 + loss."""
    return less(loss).replace("less", "less throughput")


def times(ratio: float) -> str:
    """Return '1.8 times'; with two decimals where one would read as no difference."""
    return f"{number(ratio, 3 if ratio < 1.1 else 2)} times"


def link(split: Split) -> Markup:
    """Return the split's name as a link to its row."""
    return Markup('<a href="#{}">{}</a>').format(split.row_id, split.name)


def links(splits: Sequence[Split], limit: int = 6) -> Markup:
    """Return several names as prose, cutting long lists as ``words.listing`` does."""
    shown = [link(split) for split in splits[: limit if len(splits) <= limit else limit - 1]]
    if len(shown) < len(splits):
        shown.append(Markup("{} more").format(len(splits) - len(shown)))
    if len(shown) == 1:
        return shown[0]
    return Markup("{} and {}").format(Markup(", ").join(shown[:-1]), shown[-1])


def margin(delta: float) -> str:
    """Return a chosen margin as it was chosen: 2 %, not 2.0 %."""
    return f"{100 * delta:g}\N{NO-BREAK SPACE}%"


def point_id(row_id: str) -> str:
    """Return the id of the point that stands for a row, for the way back."""
    return f"at-{row_id.removeprefix('row-')}"


def mebibytes(value: float) -> str:
    """Return bytes as MiB: three digits for the small, whole ones for the large."""
    amount = value / 2**20
    return number(amount) if amount < 100 else f"{amount:,.0f}"


def error(counted: pd.DataFrame) -> str:
    """Return the largest error of these runs and the one that their engine is allowed."""
    largest = pd.to_numeric(counted["max_rel_err"], errors="coerce").max()
    limit = pd.to_numeric(counted["tolerance"], errors="coerce").max()
    allowed = f" (allowed: {power(limit)})" if pd.notna(limit) else ""
    return f"{power(largest)}{allowed}" if pd.notna(largest) else "not recorded"


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
