"""One chart of all models' fronts."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from markupsafe import Markup

from reports.data.cells import Split
from reports.objectives import OBJECTIVES
from reports.page.draw import canvas
from reports.page.draw.svg import FAINT, Point, inline
from reports.page.figures import say
from reports.words import slug

# Palette indices and shapes: more combinations than there are models.
_COLOURS = (0, 1, 2, 3, 4, 8, 5, 6)
_SHAPES = (
    ("o", "M20 3a5 5 0 1 0 .01 0z"),
    ("s", "M15 3h10v10h-10z"),
    ("^", "M20 2l6 11h-12z"),
    ("D", "M20 1l7 7-7 7-7-7z"),
    ("v", "M20 14l6-11h-12z"),
    ("P", "M18 2h4v4h4v4h-4v4h-4v-4h-4v-4h4z"),
    ("X", "M16 2l4 3 4-3 3 3-3 3 3 3-3 3-4-3-4 3-3-3 3-3-3-3z"),
)


def legend(names: Sequence[str]) -> list[dict[str, object]]:
    return [
        {"name": name, "colour": _colour(place), "shape": _SHAPES[place % len(_SHAPES)][1]}
        for place, name in enumerate(names)
    ]


def fronts(key: str, shown: Sequence[tuple[int, str, Sequence[Split], str]]) -> Markup:
    """Draw strict fronts by the first two objectives; points link to rows.

    `shown`: each model's legend index, name, front and page.
    """
    points: dict[str, Point] = {}
    across, up, *_ = OBJECTIVES
    with mpl.rc_context(canvas.STYLE):
        figure, axes = canvas.empty(6.0, 4.5)
        for place, name, front, file in shown:
            line = [(split.median(across), split.median(up)) for split in front]
            colour = canvas.PALETTE[_colour(place)]
            axes.plot(*zip(*line, strict=True), color=colour, linewidth=1.2, zorder=2)
            marks = axes.scatter(
                [x for x, _ in line],
                [y for _, y in line],
                color=colour,
                marker=_SHAPES[place % len(_SHAPES)][0],
                s=48,
            )
            links = {f"{file}#{split.row_id}": split for split in front}
            marks.set(urls=[*links], zorder=3)
            points |= {
                link: Point(f"{name} {s.name}: {say(s, across)}, {say(s, up)}", True)
                for link, s in links.items()
            }
        axes.margins(0.08, 0.08)
        ends = [split for _, _, front, _ in shown for split in front]
        for way, objective in (("x", across), ("y", up)):
            scale = canvas.spread_out(axes, [split.median(objective) for split in ends], way)
            axes.set(**{f"{way}label": f"{objective.axis} ({objective.unit}{scale})"})
        axes.grid(color=FAINT, linewidth=0.6, alpha=0.5)
        canvas.fit(figure, axes)
        return inline(figure, f"fronts-{slug(key)}", points)


def _colour(place: int) -> int:
    return _COLOURS[place % len(_COLOURS)]
