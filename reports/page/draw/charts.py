"""The Pareto panel of a cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from math import nan

import matplotlib as mpl
import seaborn as sns
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from paretopipe_runtime.contract.splits import Coded
from reports.data.cells import Cell, Cuts, Split
from reports.objectives import Objective
from reports.page.draw import inset
from reports.page.draw.canvas import PALETTE, STYLE, empty, fit, spread_out
from reports.page.draw.labels import Label, place
from reports.page.draw.svg import FAINT, INK, Point, inline
from reports.page.figures import against, by_time, figures, lost, point_id
from reports.statistics.judge import Judgement
from reports.words import slug

MEMBERS = {"off": PALETTE[0], "undecided": PALETTE[4], "on": PALETTE[3]}  # the last on top
MARKERS = {"on": "D", "undecided": "^", "off": "o"}
SIZES = {"on": 80, "undecided": 70, "off": 42}
# More dots of one split would hide each other and make the page too large to mail.
DOTS = 20


def pareto(cell: Cell, judgement: Judgement, pair: tuple[Objective, Objective]) -> Markup:
    """Draw one objective against another: splits, runs, end points and the front."""
    across, up = pair

    def at(split: Split) -> tuple[float, float]:
        return split.median(across), split.median(up)

    splits, ends = cell.known, near(cell)
    run = [s for s in splits if s.runs and not by_time(s, judgement.verdict[s.cuts], cell)]
    verdicts = [judgement.verdict[split.cuts] for split in run]
    with mpl.rc_context(STYLE):
        figure, axes = empty(6.0, 4.5)
        for verdict, colour in MEMBERS.items():
            group = [split for split in splits if judgement.verdict[split.cuts] == verdict]
            _dots(axes, group, colour, pair)
            _whiskers(axes, group, colour, pair)
        _dots(axes, ends, INK, pair)
        line = [at(split) for split in judgement.front(cell)]
        if len(cell.objectives) == 2:  # with more, a front is no line
            axes.plot(*zip(*line, strict=True), color=INK, linewidth=0.9, dashes=(4, 3), zorder=3)
        # With labels set, seaborn does not draw the ticks to inspect them.
        axes.set(xlabel=across.axis, ylabel=f"{up.axis} ({up.unit})")
        sns.scatterplot(
            x=[split.median(across) for split in run],
            y=[split.median(up) for split in run],
            hue=verdicts,
            style=verdicts,
            size=verdicts,
            sizes=SIZES,
            palette=MEMBERS,
            markers=MARKERS,
            linewidth=0,
            legend=False,
            zorder=4,
            ax=axes,
        )
        axes.collections[-1].set_urls([f"#{split.row_id}" for split in run])
        _hollow(axes, splits, judgement, at, cell)
        if ends:
            squares = axes.scatter(
                x=[split.median(across) for split in ends],
                y=[split.median(up) for split in ends],
                s=62,
                marker="s",
                facecolors="none",
                edgecolors=INK,
                linewidths=1.6,
            )
            squares.set(urls=[f"#{split.row_id}" for split in ends], zorder=4)
        axes.margins(0.16, 0.12)  # room for the outermost names
        axes.yaxis.set_major_locator(MaxNLocator(5))
        scale = spread_out(axes, [split.median(across) for split in (*splits, *ends)])
        axes.set(xlabel=f"{across.axis} ({across.unit}{scale})")
        axes.grid(color=FAINT, linewidth=0.6, alpha=0.5)
        fit(figure, axes)
        apart = _zoom(axes, splits, ends, judgement, at, cell)
        labels = _labels([s for s in splits if s.cuts not in apart], ends, judgement, at, cell)
        place(axes, labels, line)
        first = pair == cell.objectives[:2]
        points = {
            split.row_id: Point(
                _spoken(split, judgement, cell),
                split.cuts in judgement.strict,
                point_id(split.row_id) if first else "",
            )
            for split in (*splits, *ends)
        }
        names = "" if first else f"-{slug(across.name)}-{slug(up.name)}"
        return inline(figure, f"pareto-{slug(cell.id)}{names}", points)


def _zoom(
    axes: Axes,
    splits: Sequence[Split],
    ends: Sequence[Split],
    judgement: Judgement,
    at: Callable[[Split], tuple[float, float]],
    cell: Cell,
) -> Set[Cuts]:
    """Zoom in on the crowd on the front, if there is one and room; return who is named there."""
    axes.autoscale_view()
    flat = axes.transData + axes.transAxes.inverted()
    spots = {split.cuts: tuple(flat.transform(at(split))) for split in (*splits, *ends)}
    front = frozenset(spots[cuts] for cuts, said in judgement.verdict.items() if said != "off")
    part = inset.crowd([spots[split.cuts] for split in splits], front)
    where = inset.free([*spots.values()], part) if part else None
    if not part or not where:
        return frozenset()
    zoomed = inset.add(axes, part, where)
    inside = [split for split in splits if inset.within(spots[split.cuts], part)]
    for verdict, colour in MEMBERS.items():
        group = [
            s
            for s in inside
            if s.runs and judgement.verdict[s.cuts] == verdict and not by_time(s, verdict, cell)
        ]
        if group:
            x, y = zip(*map(at, group), strict=True)
            marks = zoomed.scatter(
                x, y, SIZES[verdict], colour, marker=MARKERS[verdict], linewidth=0
            )
            marks.set(urls=[f"#{split.row_id}" for split in group], zorder=4)
    _hollow(zoomed, inside, judgement, at, cell)
    on = [judgement.verdict[split.cuts] == "on" for split in inside]
    named = [(s, s.name + lost(s, cell), sure) for s, sure in zip(inside, on, strict=True)]
    place(zoomed, [Label(*at(s), name, sure, sure) for s, name, sure in named])
    return frozenset(split.cuts for split in inside)


def _hollow(
    axes: Axes,
    splits: Sequence[Split],
    judgement: Judgement,
    at: Callable[[Split], tuple[float, float]],
    cell: Cell,
) -> None:
    """Mark splits without a run, the outline alone, and those by time alone, with a dot in it."""
    for verdict, colour in MEMBERS.items():
        own = [split for split in splits if judgement.verdict[split.cuts] == verdict]
        dotted = [split for split in own if by_time(split, verdict, cell)]
        if dotted:
            x, y = zip(*map(at, dotted), strict=True)
            axes.scatter(x, y, 12, colour, linewidth=0, zorder=4)
        group = [split for split in own if not split.runs or by_time(split, verdict, cell)]
        if group:
            x, y = zip(*map(at, group), strict=True)
            marks = axes.scatter(x, y, SIZES[verdict], marker=MARKERS[verdict], linewidths=1.2)
            marks.set(facecolor="none", edgecolor=colour)
            marks.set(urls=[f"#{split.row_id}" for split in group], zorder=4)


def drawn(cell: Cell) -> tuple[Split, ...]:
    return (*cell.known, *near(cell)) if cell.known else ()


def near(cell: Cell) -> tuple[Split, ...]:
    """Return the end points close enough not to squeeze the splits.

    Close means nearer to them than they are to each other, in every objective.
    """
    known = [(one, [split.median(one) for split in cell.known]) for one in cell.objectives]
    return tuple(
        end
        for end in cell.end_points
        if end.runs and all(_within(end.median(one), values) for one, values in known)
    )


def _within(value: float, values: Sequence[float]) -> bool:
    low, high = min(values), max(values)
    reach = max(high - low, 0.1 * high)
    return low - reach <= value <= high + reach


def _dots(axes: Axes, splits: Sequence[Split], colour: str, pair: Sequence[Objective]) -> None:
    """Draw every counted run as one path of zero-length lines.

    Above `DOTS` runs a split shows only its range.
    """
    shown = [split for split in splits if 0 < split.runs <= DOTS]
    places = [
        [place for split in shown for run in split.values[one.figure] for place in (run, run, nan)]
        for one in pair
    ]
    axes.plot(*places, color=colour, linewidth=3.6, alpha=0.4, solid_capstyle="round", zorder=2)


def _whiskers(
    axes: Axes, splits: Sequence[Split], colour: str, pair: tuple[Objective, Objective]
) -> None:
    """Draw the ranges of both objectives as one path."""
    x: list[float] = []
    y: list[float] = []
    for split in splits:
        across, up = map(split.of, pair)
        if across and up:
            x += [across.low, across.high, nan, across.median, across.median, nan]
            y += [up.median, up.median, nan, up.low, up.high, nan]
    axes.plot(x, y, color=colour, linewidth=1.0, alpha=0.55, zorder=2)


def _labels(
    splits: Sequence[Split],
    ends: Sequence[Split],
    judgement: Judgement,
    at: Callable[[Split], tuple[float, float]],
    cell: Cell,
) -> list[Label]:
    """Name front and end points, and undecided and encoded ones where there is room."""
    labels = []
    for split in splits:
        verdict = judgement.verdict[split.cuts]
        name = "" if verdict == "off" else split.name + lost(split, cell)
        labels.append(Label(*at(split), name, needed=verdict == "on"))
    named = [(end, not isinstance(end.cuts, Coded)) for end in ends]
    return labels + [Label(*at(end), end.name, needed, bold=False) for end, needed in named]


def _spoken(split: Split, judgement: Judgement, cell: Cell) -> str:
    runs = f"{split.runs} of {split.attempts} runs count" if split.runs else "never run"
    measured = f"{figures(split, (*cell.objectives, *cell.exact))}; {runs}"
    if split.cuts not in judgement.verdict:
        return f"{split.name}, not a split: {measured}"
    verdict = judgement.verdict[split.cuts]
    place = "undecided" if verdict == "undecided" else f"{verdict} the front"
    place += "" if split.runs or verdict == "undecided" else " (predicted)"
    place += " by time alone" if by_time(split, verdict, cell) else ""
    others = against(judgement, split, cell.known)
    sure = judgement.membership.get(split.cuts)
    doubt = (
        ""
        if sure is None
        else f"; {100 * sure:.0f}\N{NO-BREAK SPACE}% chance of being on the front"
    )
    return f"{split.name}, {place}: {measured}{doubt}{'; ' if others else ''}{others}"
