"""Horizontal bars of named medians, with their ranges."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from reports.data.groups import Spread
from reports.page.draw import canvas
from reports.page.draw.svg import FAINT, INK, inline


def draw(key: str, names: Sequence[str], values: Sequence[Spread], label: str) -> Markup:
    """Return an ``<svg>`` element; `key` makes its ids unique in the page, `label` has the unit."""
    with mpl.rc_context(canvas.STYLE):
        figure, axes = canvas.empty(6.0, 0.9 + 0.25 * len(names))
        middles = [value.median for value in values]
        axes.add_artist(  # an artist, not a patch: saves computing data limits
            canvas.rows([0.0] * len(names), middles, facecolor=canvas.STAGES[0], linewidth=0)
        )
        across = [end for value in values for end in (value.low, value.high, nan)]
        down = [place for row in range(len(values)) for place in (row, row, nan)]
        axes.plot(across, down, color=INK, linewidth=1.2)
        axes.set_xlim(0, 1.05 * max(value.high for value in values))
        axes.set(xlabel=label)
        axes.grid(axis="x", color=FAINT, linewidth=0.6, alpha=0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        canvas.name_rows(axes, names)
        canvas.fit(figure, axes, names)
        return inline(figure, key, {})
