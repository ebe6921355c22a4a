"""A chart of named values, a horizontal bar each, with the lowest and the highest run of it."""

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
    """Return the chart, in the order given, as an ``<svg>`` element.

    Parameters
    ----------
    key
        Names the chart in the page.
    names, values
        What each bar is, and the median it shows.
    label
        Of the axis, with its unit.
    """
    with mpl.rc_context(canvas.STYLE):
        figure, axes = canvas.empty(6.0, 0.9 + 0.25 * len(names))
        middles = [value.median for value in values]
        axes.add_artist(  # not as a patch: nobody asks for the limits of its data
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
