"""A zoomed part of a chart, where the splits that matter crowd."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from reports.page.draw.svg import FAINT

Place = tuple[float, float]  # in fractions of the axes
Box = tuple[float, float, float, float]  # left, bottom, right, top

# Of the axes: the largest part that is zoomed, the inset, and the room for its numbers.
_PART, _SIZE, _NUMBERS = 0.2, 0.42, 0.09
_LEAST, _SHARE = 5, 1 / 3  # points, and of all; fewer can be named where they are
_CORNERS = [(0.99 - _SIZE, 0.02 + _NUMBERS), (0.99 - _SIZE, 0.99 - _SIZE), (0.02 + _NUMBERS, 0.1)]


def crowd(points: Sequence[Place], front: frozenset[Place]) -> Box | None:
    """Return the box of the part on the front with most points; None if they do not crowd."""
    parts = [
        [p for p in points if 0 <= p[0] - left <= _PART and 0 <= p[1] - bottom <= _PART]
        for left, _ in points
        for _, bottom in points
    ]
    inside = max((part for part in parts if front.intersection(part)), key=len, default=[])
    if len(inside) < max(_LEAST, _SHARE * len(points)):
        return None
    ends = [(min(one), max(one)) for one in zip(*inside, strict=True)]
    # A margin for the marks; a crowd on one spot is no reason for a microscope.
    (left, right), (bottom, top) = (
        (low - pad, high + pad) for low, high in ends for pad in [max(0.03, 0.15 * (high - low))]
    )
    return left, bottom, right, top


def free(points: Sequence[Place], part: Box) -> Box | None:
    """Return where an inset hides none of the points, nor the part itself."""
    for left, bottom in _CORNERS:
        right, top = left + _SIZE, bottom + _SIZE
        edge = (left - _NUMBERS, bottom - _NUMBERS, right, top)
        apart = part[2] < edge[0] or part[0] > right or part[3] < edge[1] or part[1] > top
        if apart and not any(within(point, edge) for point in points):
            return left, bottom, right, top
    return None


def within(point: Place, box: Box) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def add(axes: Axes, part: Box, place: Box) -> Axes:
    """Return empty axes at `place` that show `part`, which is framed."""
    left, bottom, right, top = place
    inset = axes.inset_axes((left, bottom, right - left, top - bottom))
    inset.patch.set_alpha(0)
    inset.set(xscale=axes.get_xscale(), yscale=axes.get_yscale())
    ends = axes.transData.inverted().transform(
        axes.transAxes.transform([(part[0], part[1]), (part[2], part[3])])
    )
    inset.set(xlim=ends[:, 0], ylim=ends[:, 1])
    for axis in (inset.xaxis, inset.yaxis):
        axis.set_major_locator(MaxNLocator(3))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(lambda value, _: f"{value:.4g}")
    inset.tick_params(labelsize=11, length=2)
    axes.indicate_inset_zoom(inset, edgecolor=FAINT, alpha=1)
    return inset
