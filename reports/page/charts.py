"""Charts as inline SVG: the Pareto panel of a cell, and where its time goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from reports.data.cells import Cell, Split
from reports.page.compare import Comparison, Measure
from reports.page.labels import place
from reports.page.svg import FAINT, INK, Point, inline
from reports.page.verdict import spread
from reports.words import slug

PALETTE: list[str] = sns.color_palette("colorblind").as_hex()
POINT, FRONT, NETWORK = PALETTE[0], PALETTE[3], PALETTE[7]
STAGES = (PALETTE[0], PALETTE[1], PALETTE[2], PALETTE[4])
MARKERS = ("o", "s", "^", "v")  # of what is compared, in the order of STAGES

# Any: matplotlib types every key on its own, which a mixed mapping cannot satisfy.
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "paretopipe",
    "hatch.linewidth": 0.8,
    "font.size": 14,
    "axes.labelsize": 14,
    "xtick.labelsize": 13,
    "ytick.labelsize": 13,
    **{key: INK for key in ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")},
    "axes.edgecolor": FAINT,
    "hatch.color": INK,
}


def stage_colour(number: int) -> str:
    """Return the colour of stage 1, 2, …, the same in every chart."""
    return STAGES[(number - 1) % len(STAGES)]


def pareto(cell: Cell) -> str:
    """Draw latency against throughput: every split a point, the strict front a line."""
    data = pd.DataFrame(
        {
            "latency": [split.latency for split in cell.measured],
            "throughput": [split.throughput for split in cell.measured],
            "member": [split.on_front for split in cell.measured],
        }
    )
    with mpl.rc_context(_STYLE):
        figure, axes = _empty(6.0, 4.5)
        _whiskers(axes, cell.measured)
        ends = [(split.latency, split.throughput) for split in cell.front]
        axes.plot(*zip(*ends, strict=True), color=FRONT, linewidth=1.8, zorder=3)
        sns.scatterplot(
            data=data,
            x="latency",
            y="throughput",
            hue="member",
            style="member",
            size="member",
            sizes={True: 80, False: 42},
            palette={True: FRONT, False: POINT},
            markers={True: "D", False: "o"},
            linewidth=0,
            legend=False,
            zorder=4,
            ax=axes,
        )
        axes.collections[-1].set_urls([f"#{split.row_id}" for split in cell.measured])
        axes.margins(0.16, 0.12)  # room for the names of the outermost points
        axes.yaxis.set_major_locator(MaxNLocator(5))
        scale = _spread_out(axes, [split.latency for split in cell.measured])
        axes.set(xlabel=f"latency of a batch (s{scale})", ylabel="throughput (images/s)")
        axes.grid(color=FAINT, linewidth=0.6, alpha=0.5)
        place(axes, list(zip(data["latency"], data["throughput"], strict=True)), _names(cell))
        points = {split.row_id: Point(_spoken(split), split.on_front) for split in cell.measured}
        return inline(figure, f"pareto-{slug(cell.id)}", points)


def phases(cell: Cell) -> str:
    """Draw the median time of each stage and of the network, one bar a split."""
    done = cell.measured
    with mpl.rc_context(_STYLE):
        figure, axes = _empty(6.0, 0.9 + 0.27 * len(done))
        left = [0.0] * len(done)
        names = [f"◆ {split.name}" if split.on_front else split.name for split in done]
        for values, colour, hatch in _segments(done):
            axes.barh(names, values, left=left, color=colour, height=0.72, hatch=hatch, linewidth=0)
            left = [start + value for start, value in zip(left, values, strict=True)]
        axes.invert_yaxis()
        axes.margins(y=0.01)
        axes.set(xlabel="time of a batch (s)")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=FAINT, linewidth=0.6, alpha=0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        return inline(figure, f"phases-{slug(cell.id)}", {})


def contrast(comparison: Comparison, measure: Measure) -> str:
    """Draw one measure of what is compared: a row a split, a mark a kind, whiskers its range."""
    rows, columns = comparison.splits, comparison.columns
    with mpl.rc_context(_STYLE):
        figure, axes = _empty(6.0, 1.1 + 0.32 * len(rows))
        middles = []
        for number, (_, splits) in enumerate(columns):
            colour, marker = stage_colour(number + 1), MARKERS[number % len(MARKERS)]
            known = [
                (row, s) for row, split in enumerate(splits) if (s := split and measure.of(split))
            ]
            # Side by side, so that equal values do not hide each other.
            heights = [row + 0.44 * (number + 0.5) / len(columns) - 0.22 for row, _ in known]
            for height, (_, value) in zip(heights, known, strict=True):
                axes.plot((value.low, value.high), (height, height), color=colour, linewidth=1.2)
            middle = [value.median for _, value in known]
            axes.plot(middle, heights, marker, color=colour, markersize=6, linestyle="none")
            middles += middle
        axes.set_yticks(range(len(rows)), [split.name for split in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        scale = _spread_out(axes, middles)
        axes.set(xlabel=f"{measure.label} ({measure.unit}{scale})")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=FAINT, linewidth=0.6, alpha=0.5)
        return inline(figure, f"{comparison.factor}-{slug(comparison.cell.id)}-{measure.key}", {})


def _segments(splits: Sequence[Split]) -> list[tuple[list[float], str, str | None]]:
    """Return the bars' pieces in the order that a batch passes them."""
    depth = max(len(split.stages) for split in splits)
    pieces: list[tuple[list[float], str, str | None]] = []
    for index in range(depth):
        pieces.append(
            ([_stage_time(split, index) for split in splits], stage_colour(index + 1), None)
        )
    network = [split.network_s.median if split.network_s else 0.0 for split in splits]
    pieces.insert(1, (network, NETWORK, "////"))
    return pieces


def _stage_time(split: Split, index: int) -> float:
    value = split.stages[index].compute_s if index < len(split.stages) else None
    return value.median if value else 0.0


def _empty(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    axes.set_axisbelow(True)
    sns.despine(ax=axes)
    return figure, axes


def _whiskers(axes: Axes, splits: Sequence[Split]) -> None:
    for split in splits:
        latency, throughput = split.latency_s, split.throughput_img_s
        if latency and throughput:
            colour = FRONT if split.on_front else POINT
            for x, y in (
                ((latency.low, latency.high), (throughput.median, throughput.median)),
                ((latency.median, latency.median), (throughput.low, throughput.high)),
            ):
                axes.plot(x, y, color=colour, linewidth=1.0, alpha=0.55, zorder=2)


def _spread_out(axes: Axes, values: Sequence[float]) -> str:
    """Make the horizontal axis logarithmic if need be; return what its label has to say then.

    A few splits that are many times slower would otherwise squeeze the rest, the front among
    them, into a corner. A front's throughput stays linear: there the front is at the wide end.
    """
    if max(values) <= 5 * min(values):
        axes.xaxis.set_major_locator(MaxNLocator(5))
        return ""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    return ", log scale"


def _names(cell: Cell) -> list[str | None]:
    return [split.name if split.on_front else None for split in cell.measured]


def _spoken(split: Split) -> str:
    front = ", on the front" if split.on_front else ""
    return (
        f"{split.name}{front}: latency {spread(split.latency_s, 's')}, "
        f"throughput {spread(split.throughput_img_s, 'images/s')}, {split.runs} runs"
    )
