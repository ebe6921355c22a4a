"""Place the names of the front points where they cover neither points nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

# Places to try around a point, in points: beside it first, where it can mean no other point.
_CIRCLE = [(11, 0), (-11, 0), (11, 7), (-11, 7), (11, -7), (-11, -7), (0, 14), (0, -14)]
_OFFSETS = [(step * x, step * y) for step in (1.0, 1.5, 2.1) for x, y in _CIRCLE]
_ALIGN = {1: "left", 0: "center", -1: "right"}


def place(axes: Axes, points: Sequence[tuple[float, float]], names: Sequence[str | None]) -> None:
    """Write each name beside its point, taking the first place that is free.

    Where no place is free the one with the least overlap is taken: a label is never lost.
    """
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("the axes belong to no figure")
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()  # fixes the layout, so that pixels mean something
    renderer = canvas.get_renderer()
    frame = axes.get_window_extent(renderer).padded(-4)
    pixels = [tuple(axes.transData.transform(point)) for point in points]
    taken = [Bbox.from_extents(x - 6, y - 6, x + 6, y + 6) for x, y in pixels]
    taken += _along([p for p, name in zip(pixels, names, strict=True) if name])
    # From the left: the leftmost name has no other side to go to.
    for point, name in sorted(zip(points, names, strict=True), key=lambda pair: pair[0]):
        if name is None:
            continue
        best: tuple[float, int] | None = None
        texts = []
        for number, (dx, dy) in enumerate(_OFFSETS):
            text = axes.annotate(
                name,
                point,
                xytext=(dx, dy),
                textcoords="offset points",
                ha=_ALIGN[(dx > 0) - (dx < 0)],
                va="center",
                fontweight="bold",
                annotation_clip=False,
                zorder=5,
            )
            texts.append(text)
            # A little overlap is better than a name that seems to belong to another point.
            far = 40 * (number // len(_CIRCLE))
            cost = _cost(text.get_window_extent(renderer), taken, frame) + far
            if best is None or cost < best[0]:
                best = (cost, number)
            if cost == 0:
                break
        assert best is not None  # there is at least one place to try
        kept = texts[best[1]]
        for text in texts:
            if text is not kept:
                text.remove()
        taken.append(kept.get_window_extent(renderer))


def _cost(box: Bbox, taken: Sequence[Bbox], frame: Bbox) -> float:
    covered = sum(_shared(box, other) for other in taken)
    outside = box.width * box.height - _shared(box, frame)
    return covered + 3 * max(0.0, round(outside, 3))


def _shared(one: Bbox, other: Bbox) -> float:
    both = Bbox.intersection(one, other)
    return float(both.width * both.height) if both else 0.0


def _along(pixels: Sequence[tuple[float, ...]]) -> list[Bbox]:
    """Return small boxes along the front line, so that names keep off it."""
    line = sorted(pixels)
    boxes = []
    for (x0, y0), (x1, y1) in pairwise(line):
        for step in range(1, 12):
            x, y = x0 + (x1 - x0) * step / 12, y0 + (y1 - y0) * step / 12
            boxes.append(Bbox.from_extents(x - 2, y - 2, x + 2, y + 2))
    return boxes
