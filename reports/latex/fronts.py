"""The paper's Figures 3 to 6, of this sweep: every split and the front, a panel a model."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports import paper
from reports.data.cells import Cell
from reports.page.draw.canvas import spread_out
from reports.page.draw.charts import MEMBERS
from reports.page.draw.labels import Label, place
from reports.page.figures import apart, by_time
from reports.page.sheet import Sheet
from reports.statistics.judge import Judgement

_CAPTION = "Marks are medians, bars {}; the dashed line joins the strict front of the medians."
_RANGES = "the range of the runs"
_BELIEVED = "the posterior's 90 % where only what is in doubt was run (hollow: never), else "
_MARKS = {"off": "o", "undecided": "^", "on": "D"}
_WORDS = {"off": "off the front", "undecided": "undecided", "on": "on the front"}
_BY_TIME = {verdict: f"{said} by time, but inaccurate" for verdict, said in _WORDS.items()}
_UNSEEN = {"off": "off the front (predicted)"}
# TrueType, as publishers ask for; the default, Type 3, is often refused.
_STYLE: dict[Any, Any] = {"pdf.fonttype": 42, "font.size": 8, "axes.linewidth": 0.6}
_COLUMN, _PAGE = 3.5, 7.16  # inches wide, in two columns


def caption(shown: Sequence[tuple[Sheet, Cell]]) -> str:
    """Return what the marks and lines of a figure are."""
    doubtful = any(cell.standing for _, cell in shown)
    return _CAPTION.format(f"{_BELIEVED}{_RANGES}" if doubtful else _RANGES)


def draw(shown: Sequence[tuple[Sheet, Cell]]) -> bytes:
    """Return a vector PDF, without a date: equal cells, equal bytes."""
    across = min(3, len(shown))
    down = -(-len(shown) // across)
    with mpl.rc_context(_STYLE):
        size = (_COLUMN if across == 1 else _PAGE, 0.3 + 2.3 * down)
        figure = Figure(figsize=size, layout="constrained")
        every = figure.subplots(down, across, squeeze=False).flat
        for axes in every[len(shown) :]:
            axes.set_axis_off()
        panels = list(zip(every, shown, strict=False))
        for axes, (sheet, cell) in panels:
            _points(axes, cell, sheet.judgements[cell.id])
        handles = {
            label: handle
            for axes, _ in panels
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        columns = 3 if across > 1 or len(handles) < 4 else 2
        figure.legend([*handles.values()], [*handles], loc="outside lower center", ncols=columns)
        figure.draw_without_rendering()  # names need final places
        for axes, (sheet, cell) in panels:
            _names(axes, cell, sheet.judgements[cell.id])
        out = BytesIO()
        about = {"Creator": "ParetoPipe", "Producer": None, "CreationDate": None}
        figure.savefig(out, format="pdf", metadata=about)
    return out.getvalue()


def _points(axes: Axes, cell: Cell, judgement: Judgement) -> None:
    x, y, *_ = cell.objectives
    for verdict, colour in MEMBERS.items():
        own = [split for split in cell.known if judgement.verdict[split.cuts] == verdict]
        timed = [split for split in own if by_time(split, verdict, cell)]
        groups = [(timed, _BY_TIME[verdict], "X")] if timed else []
        for some in apart([split for split in own if not by_time(split, verdict, cell)]):
            unseen = _UNSEEN.get(verdict, f"{verdict}, never run")
            groups.append((some, _WORDS[verdict] if some[0].runs else unseen, _MARKS[verdict]))
        for splits, label, mark in groups:
            spreads = [(a, b) for split in splits if (a := split.of(x)) and (b := split.of(y))]
            run = splits[0].runs > 0
            axes.errorbar(
                [a.median for a, _ in spreads],
                [b.median for _, b in spreads],
                xerr=[
                    [a.median - a.low for a, _ in spreads],
                    [a.high - a.median for a, _ in spreads],
                ],
                yerr=[
                    [b.median - b.low for _, b in spreads],
                    [b.high - b.median for _, b in spreads],
                ],
                fmt=mark,
                label=label,
                color=colour,
                markerfacecolor=colour if run else "none",
                markersize=4,
                elinewidth=0.6,
            )
    axes.plot(*zip(*_front(cell, judgement), strict=True), "k--", linewidth=0.7, zorder=1)
    axes.margins(0.12, 0.12)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    scale = spread_out(axes, [split.median(x) for split in cell.known])
    axes.set(
        title=paper.model_name(cell.model),
        xlabel=f"{x.axis} ({x.unit}{scale})",
        ylabel=f"{y.axis} ({y.unit})",
    )
    axes.grid(color="0.85", linewidth=0.4)
    axes.set_axisbelow(True)


def _names(axes: Axes, cell: Cell, judgement: Judgement) -> None:
    x, y, *_ = cell.objectives
    labels = [
        Label(
            split.median(x),
            split.median(y),
            split.name if split.cuts in judgement.strict else "",
            bold=False,
        )
        for split in cell.known
    ]
    place(axes, labels, _front(cell, judgement), size=7)


def _front(cell: Cell, judgement: Judgement) -> list[tuple[float, float]]:
    x, y, *_ = cell.objectives
    return [(split.median(x), split.median(y)) for split in judgement.front(cell)]
