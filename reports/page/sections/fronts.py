"""Pareto charts, one a cell and pair of objectives (the paper's Figs. 3 to 6)."""

from __future__ import annotations

from collections.abc import Sequence, Set
from itertools import combinations
from typing import Any

from reports.data.cells import Cell, Cuts, Split
from reports.page.draw import charts
from reports.page.figures import apart, by_time, judged, link, links, margin, say, sign, word
from reports.page.sheet import Section, Sheet
from reports.statistics.judge import Judgement
from reports.words import count, listing, percent, slug


def build(sheet: Sheet) -> list[Section]:
    groups = sheet.panels(lambda cell: _panel(cell, sheet.judgements[cell.id]))
    ways = [
        f"{'left' if one.lower else 'right'} = {one.toward}" for one in sheet.objectives[:1]
    ] + [f"{'down' if one.lower else 'up'} = {one.toward}" for one in sheet.objectives[1:2]]
    return [
        {
            "id": "fronts",
            "title": "Pareto fronts",
            "groups": groups,
            "delta": margin(sheet.delta),
            "ways": ", ".join(ways),
            "believed": any(cell.standing for cell in sheet.cells),
            "by_time": any(_by_time(cell, sheet.judgements[cell.id]) for cell in sheet.cells),
            "accuracy": f"{sheet.accuracy_margin:g}" if any(c.exact for c in sheet.cells) else "",
        }
    ]


def _by_time(cell: Cell, judgement: Judgement) -> bool:
    return any(by_time(split, judgement.verdict[split.cuts], cell) for split in cell.known)


def _panel(cell: Cell, judgement: Judgement) -> dict[str, Any]:
    if not cell.measured:
        return {"charts": []}
    drawn, pairs = charts.near(cell), combinations(cell.objectives, 2)
    return {
        "id": f"front-{slug(cell.id)}",
        "charts": [charts.pareto(cell, judgement, pair) for pair in pairs],
        "members": [
            (*_said(splits[0], verdict, cell), links(splits, limit=12))
            for verdict in ("on", "undecided")
            for splits in _alike(judged(judgement, verdict, cell), cell.lossy)
        ],
        "off": [
            (*_said(splits[0], "off", cell), count(len(splits), "split"))
            for splits in _alike(judged(judgement, "off", cell), cell.ruled_out)
        ],
        "strict": links(judgement.front(cell), limit=12),
        "worth": _worth(cell, judgement),
        "afar": [
            (link(end), ", ".join(say(end, one) for one in cell.objectives))
            for end in cell.end_points
            if end.runs and end not in drawn
        ],
    }


def _said(split: Split, verdict: str, cell: Cell) -> tuple[str, str]:
    return sign(split, verdict, cell), word(split, verdict, cell)


def _alike(splits: Sequence[Split], aside: Set[Cuts]) -> list[list[Split]]:
    """Return splits apart by whether accuracy puts them aside, and whether they were run."""
    kinds = ([s for s in splits if (s.cuts in aside) is kind] for kind in (False, True))
    return [some for kind in kinds for some in apart(kind)]


def _worth(cell: Cell, judgement: Judgement) -> str:
    """State the smallest detectable difference and the hypervolume."""
    counts = sorted({split.runs for split in cell.known})
    runs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    if cell.standing:
        text = f"{runs} runs a split; values are the posterior's, bars its 90 %."
    elif not judgement.detectable:
        text = f"Nothing can be decided: {judgement.reason}."
    else:
        seen = zip(judgement.detectable, cell.objectives, strict=True)
        least = listing([f"{percent(ratio)} in {one.name}" for ratio, one in seen])
        text = f"With {runs} runs a split, differences show from {least}."
    if judgement.hypervolume is not None:
        text += f" Hypervolume {judgement.hypervolume:.3f}."
    if counts[-1] > charts.DOTS:
        text += f" Single runs of a split with more than {charts.DOTS} are not drawn."
    return text
