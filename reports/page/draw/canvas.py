"""Style and layout common to all charts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from reports.page.draw.svg import FAINT, INK

PALETTE: list[str] = sns.color_palette("colorblind").as_hex()
_STAGES = (PALETTE[0], PALETTE[1], PALETTE[2], PALETTE[4])

# Any: a mixed mapping cannot satisfy matplotlib's type per key.
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "paretopipe",
    "hatch.linewidth": 0.8,
    "path.simplify": False,  # would drop dots: lines without length
    "font.size": 14,
    "axes.labelsize": 14,
    "xtick.labelsize": 13,
    "ytick.labelsize": 13,
    **{key: INK for key in ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")},
    "axes.edgecolor": FAINT,
    "hatch.color": INK,
}


def stage_colour(number: int) -> str:
    """Return the colour of stage 1, 2, … in every chart."""
    return _STAGES[(number - 1) % len(_STAGES)]


def empty(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    figure.patch.set_alpha(0)
    axes = figure.subplots()
    axes.patch.set_alpha(0)
    axes.set_axisbelow(True)
    sns.despine(ax=axes)
    return figure, axes


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Write row names from the top as plain text.

    Ticks would make a chart of forty rows three times as slow.
    """
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks([])
    beside, _, _ = axes.get_yaxis_text1_transform(mpl.rcParams["ytick.major.pad"])
    for row, name in enumerate(names):
        axes.text(
            *(0, row, name),
            transform=beside,
            horizontalalignment="right",
            verticalalignment="center_baseline",
            fontsize=mpl.rcParams["ytick.labelsize"],
            zorder=axes.yaxis.get_zorder() + 0.1,  # under the bars
        )


def fit(figure: Figure, axes: Axes, names: Sequence[str] | None = None) -> None:
    """Make room for labels, once limits and ticks are set; `names` are those of the rows.

    matplotlib's layout engines would draw everything twice.
    """
    width, height = figure.get_size_inches() * 72
    if names is None:
        names = axes.yaxis.get_major_formatter().format_ticks([*axes.get_yticks()])
    left = max(map(_wide, names), default=0.0) + (36 if axes.get_ylabel() else 12)
    figure.subplots_adjust(left / width, 48 / height, 1 - 14 / width, 1 - 8 / height)


@cache
def _wide(name: str) -> float:
    """Return a tick label's width in points."""
    outline = TextPath((0, 0), name, prop=FontProperties(size=STYLE["ytick.labelsize"])).vertices
    return float(np.max(outline[:, 0])) if len(outline) else 0.0


def rows(left: Sequence[float], width: Sequence[float], **style: Any) -> PathPatch:
    """Return horizontal bars as one path."""
    bars = [
        (start, row - 0.36, start + length, row + 0.36)
        for row, (start, length) in enumerate(zip(left, width, strict=True))
    ]
    corners = [
        corner
        for x0, y0, x1, y1 in bars
        for corner in ((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0))
    ]
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(bars)
    return PathPatch(Path(corners, codes), **style)


def spread_out(axes: Axes, values: Sequence[float], way: str = "x") -> str:
    """Use a logarithmic axis for widely spread values; return what its label must add.

    A cell's throughput stays linear: its front is at the wide end.
    """
    axis = axes.xaxis if way == "x" else axes.yaxis
    if max(values) <= 5 * min(values):
        axis.set_major_locator(MaxNLocator(5))
        return ""
    axes.set(**{f"{way}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
    return ", log scale"
