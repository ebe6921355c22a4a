"""Horizontal bars: named medians with their ranges, and the parts of a batch's time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from math import nan

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from paretopipe_runtime.prediction.predictor import Network, measured_networks
from reports.data.cells import Cell, Split, Spread
from reports.page.draw import canvas
from reports.page.draw.canvas import stage_colour
from reports.page.draw.charts import near
from reports.page.draw.svg import FAINT, INK, inline
from reports.page.figures import sign
from reports.statistics.judge import Judgement
from reports.words import slug

# Of each row a length, and their colour and hatch: pieces are drawn end to end.
Piece = tuple[Sequence[float], str, str | None]
NETWORK = canvas.PALETTE[7]
#: Of the first hop, the second, …
HATCHES = ("////", "\\\\\\\\", "----")


def medians(key: str, names: Sequence[str], values: Sequence[Spread], label: str) -> Markup:
    """Return an ``<svg>`` element; `key` makes its ids unique in the page, `label` has the unit."""
    middles = [value.median for value in values]
    return draw(key, names, [(middles, stage_colour(1), None)], label, 0.25, values)


def phases(cell: Cell, judgement: Judgement) -> Markup:
    """Draw the median time of each stage and hop, a bar a split or end point."""
    verdicts = [(split, judgement.verdict[split.cuts]) for split in cell.measured]
    names = [
        split.name if verdict == "off" else f"{sign(split, verdict, cell)} {split.name}"
        for split, verdict in verdicts
    ]
    ends = near(cell)
    names += [f"□ {end.name}" for end in ends]
    return parts(f"phases-{slug(cell.id)}", names, [(s, cell) for s in (*cell.measured, *ends)])


def parts(key: str, names: Sequence[str], splits: Sequence[tuple[Split, Cell]]) -> Markup:
    return draw(key, names, segments(splits), "time of a batch (s)", pitch=0.27)


def segments(splits: Sequence[tuple[Split, Cell]]) -> list[Piece]:
    """Return the bars' segments in the order that a batch passes them.

    With more than one hop each is a segment, and what is left of the network's time the last.
    """
    depth = max(len(split.stages) for split, _ in splits)
    stages: list[Piece] = [
        ([_stage_time(split, index) for split, _ in splits], stage_colour(index + 1), None)
        for index in range(depth)
    ]
    count = depth - 1 if depth > 2 else 1
    times = zip(*(_hop_times(split, cell, count) for split, cell in splits), strict=True)
    hatches = [HATCHES[place % len(HATCHES)] for place in range(count)]  # the rest has none
    hops = [(values, NETWORK, hatch) for values, hatch in zip_longest(times, hatches)]
    return [piece for pair in zip_longest(stages, hops) for piece in pair if piece]


def _hop_times(split: Split, cell: Cell, count: int) -> list[float]:
    """Return the seconds of `count` hops, then of what else the network took; of one hop, all.

    A hop's are those from a batch's first byte to its last, and the delay measured before the cell:
    no clock sees both ends of it.
    """
    network = split["network_s"].median if split["network_s"] else 0.0
    if count == 1:
        return [network]
    unknown = [Network(0.0, None)] * (len(cell.hosts) - 1)
    hops = measured_networks(cell.plan, unknown)[: len(split.arrivals)]
    known = [seen.median for seen in split.arrivals if seen]
    if len(known) < len(hops):  # PyTorch RPC does not time them
        hops, known = (), []
    found = [seen + hop.rtt_ms / 1e3 for seen, hop in zip(known, hops, strict=True)]
    fits = min(1.0, network / sum(found)) if found else 0.0
    found = [fits * hop for hop in found] + [0.0] * (count - len(found))
    return [*found, max(0.0, network - sum(found))]


def _stage_time(split: Split, index: int) -> float:
    value = split.stages[index]["compute_s"] if index < len(split.stages) else None
    return value.median if value else 0.0


def draw(
    key: str,
    names: Sequence[str],
    pieces: Sequence[Piece],
    label: str,
    pitch: float,
    ranges: Sequence[Spread] = (),
) -> Markup:
    """Return an ``<svg>`` element of rows that are `pitch` inches high."""
    with mpl.rc_context(canvas.STYLE):
        figure, axes = canvas.empty(6.0, 0.9 + pitch * len(names))
        left = [0.0] * len(names)
        for values, colour, hatch in pieces:
            # An artist, not a patch: saves computing data limits.
            axes.add_artist(canvas.rows(left, values, facecolor=colour, hatch=hatch, linewidth=0))
            left = [start + value for start, value in zip(left, values, strict=True)]
        if ranges:
            across = [end for value in ranges for end in (value.low, value.high, nan)]
            down = [place for row in range(len(ranges)) for place in (row, row, nan)]
            axes.plot(across, down, color=INK, linewidth=1.2)
        axes.set_xlim(0, 1.05 * max([*left, *(value.high for value in ranges)]))
        axes.set(xlabel=label)
        axes.grid(axis="x", color=FAINT, linewidth=0.6, alpha=0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        canvas.name_rows(axes, names)
        canvas.fit(figure, axes, names)
        return inline(figure, key, {})
