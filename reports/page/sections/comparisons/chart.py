"""A chart of one measure across compared cells."""

from __future__ import annotations

import matplotlib as mpl

from reports.page.draw.canvas import STYLE, empty, fit, name_rows, spread_out
from reports.page.draw.charts import stage_colour
from reports.page.draw.svg import FAINT, inline
from reports.page.sections.comparisons.compare import Comparison, Measure
from reports.words import slug

MARKERS = ("o", "s", "^", "v")  # in the order of STAGES


def contrast(comparison: Comparison, measure: Measure) -> str:
    """Draw a row a split, a mark a kind, whiskers for its range."""
    rows, columns = comparison.splits, comparison.columns
    with mpl.rc_context(STYLE):
        figure, axes = empty(6.0, 1.1 + 0.32 * len(rows))
        middles = []
        for number, (_, splits) in enumerate(columns):
            colour, marker = stage_colour(number + 1), MARKERS[number % len(MARKERS)]
            known = [
                (row, s) for row, split in enumerate(splits) if (s := split and measure.of(split))
            ]
            # Side by side: equal values would hide each other.
            heights = [row + 0.44 * (number + 0.5) / len(columns) - 0.22 for row, _ in known]
            for height, (_, value) in zip(heights, known, strict=True):
                axes.plot((value.low, value.high), (height, height), color=colour, linewidth=1.2)
            middle = [value.median for _, value in known]
            axes.plot(middle, heights, marker, color=colour, markersize=6, linestyle="none")
            middles += middle
        scale = spread_out(axes, middles)
        axes.set(xlabel=f"{measure.label} ({measure.unit}{scale})")
        axes.grid(axis="x", color=FAINT, linewidth=0.6, alpha=0.5)
        names = [split.name for split in rows]
        name_rows(axes, names)
        fit(figure, axes, names)
        return inline(
            figure, f"{comparison.factor.key}-{slug(comparison.cell.id)}-{measure.column}", {}
        )
