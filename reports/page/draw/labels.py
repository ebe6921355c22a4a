"""Place names of points clear of points and of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.font_manager import FontProperties

# Offsets to try, in points: beside the point first, where it is unambiguous.
_CIRCLE = [(11, 0), (-11, 0), (11, 7), (-11, 7), (11, -7), (-11, -7), (0, 14), (0, -14)]
_OFFSETS = [(step * x, step * y) for step in (1.0, 1.5, 2.1) for x, y in _CIRCLE]
_ALIGN = {1: "left", 0: "center", -1: "right"}

Box = tuple[float, float, float, float]  # left, bottom, right, top, in pixels


@dataclass(frozen=True)
class Label:
    """A named point; unless ``needed`` it is dropped where there is no room."""

    x: float
    y: float
    name: str = ""
    needed: bool = True
    bold: bool = True


def place(
    axes: Axes,
    labels: Sequence[Label],
    line: Sequence[tuple[float, float]] = (),
    size: float = 14,
) -> None:
    """Write each name, `size` points high, at the first free place beside its point, off the line.

    A needed name without one takes the least overlap. Places are pixels: the layout has to be
    final.
    """
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("the axes belong to no figure")
    renderer: Any = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    axes.autoscale_view()
    x0, y0, x1, y1 = axes.bbox.padded(-4).extents
    frame: Box = (x0, y0, x1, y1)
    scale = figure.dpi / 72
    offsets = [(size / 14 * dx, size / 14 * dy) for dx, dy in _OFFSETS]
    pixels = [tuple(axes.transData.transform((label.x, label.y))) for label in labels]
    taken: list[Box] = [(x - 6, y - 6, x + 6, y + 6) for x, y in pixels]
    taken += _along([tuple(axes.transData.transform(point)) for point in line])
    # Needed ones first, from the left: the leftmost has no other side to go to.
    order = sorted(zip(labels, pixels, strict=True), key=lambda pair: (not pair[0].needed, pair[1]))
    for label, pixel in order:
        if not label.name:
            continue
        font = FontProperties(size=size, weight="bold" if label.bold else "normal")
        width, height, _ = renderer.get_text_width_height_descent(label.name, font, False)
        boxes = [_box(pixel, (dx * scale, dy * scale), width, height) for dx, dy in offsets]
        cost = _costs(boxes, taken, frame)
        best = int(np.argmin(cost))
        if not label.needed and cost[best] > 0:
            continue
        axes.annotate(
            label.name,
            (label.x, label.y),
            xytext=offsets[best],
            textcoords="offset points",
            ha=_ALIGN[int(np.sign(offsets[best][0]))],
            va="center",
            fontsize=size,
            fontweight="bold" if label.bold else "normal",
            annotation_clip=False,
            zorder=5,
        )
        taken.append(boxes[best])


def _box(pixel: tuple[float, ...], offset: tuple[float, float], width: float, height: float) -> Box:
    x, y = pixel[0] + offset[0], pixel[1] + offset[1]
    left = x - width * (1 - np.sign(offset[0])) / 2
    return left, y - height / 2, left + width, y + height / 2


def _costs(boxes: Sequence[Box], taken: Sequence[Box], frame: Box) -> npt.NDArray[np.float64]:
    """Return each place's overlap in square pixels; outside the frame counts threefold."""
    one = np.array(boxes)
    covered = _shared(one[:, None, :], np.array(taken)[None, :, :]).sum(axis=1)
    whole = (one[:, 2] - one[:, 0]) * (one[:, 3] - one[:, 1])
    outside = np.maximum(0, np.round(whole - _shared(one, np.array(frame)), 3))
    # Better a little overlap than a name that seems another point's.
    further = 40.0 * (np.arange(len(one)) // len(_CIRCLE))
    cost: npt.NDArray[np.float64] = covered + 3 * outside + further
    return cost


def _shared(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    wide = np.minimum(one[..., 2], other[..., 2]) - np.maximum(one[..., 0], other[..., 0])
    high = np.minimum(one[..., 3], other[..., 3]) - np.maximum(one[..., 1], other[..., 1])
    both: npt.NDArray[np.float64] = np.clip(wide, 0, None) * np.clip(high, 0, None)
    return both


def _along(line: Sequence[tuple[float, ...]]) -> list[Box]:
    """Return small boxes along the front line, to keep names off it."""
    boxes = []
    for (x0, y0), (x1, y1) in pairwise(line):
        for step in range(1, 12):
            x, y = x0 + (x1 - x0) * step / 12, y0 + (y1 - y0) * step / 12
            boxes.append((x - 2, y - 2, x + 2, y + 2))
    return boxes
