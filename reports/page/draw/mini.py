"""The front of a cell in miniature: a picture beside the decision, without scales."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log

from markupsafe import Markup, escape

from reports.data.cells import Cell, Cuts, Split
from reports.objectives import Objective
from reports.page.draw.charts import near
from reports.words import number

WIDTH, HEIGHT = 300, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 16, 30, 36, 34
_DIAMOND = "M{x} {top}l6 6-6 6-6-6z"


def front(
    cell: Cell, named: Mapping[Cuts, str], strict: Sequence[Split], pair: Sequence[Objective]
) -> Markup:
    """Draw all splits, logarithmic both ways, so that those that crowd stay apart.

    Parameters
    ----------
    named
        Splits to name, with the kind of their mark: ``pick`` or ``best``.
    strict
        The front, from left to right.
    """
    across, up = pair
    ends = near(cell)
    shown = (*cell.known, *ends)
    x = _scale([split.median(across) for split in shown], _LEFT, WIDTH - _RIGHT)
    y = _scale([split.median(up) for split in shown], HEIGHT - _BOTTOM, _TOP)

    def at(split: Split) -> tuple[int, int]:
        return x(split.median(across)), y(split.median(up))

    parts = [f'<path d="M{_LEFT - 6} {_TOP - 8}V{HEIGHT - _BOTTOM + 9}H{WIDTH - 4}" class="axis"/>']
    line = " ".join(
        f"{'L' if place else 'M'}{a} {b}" for place, (a, b) in enumerate(map(at, strict))
    )
    parts.append(f'<path d="{line}" class="strict"/>')
    dots: dict[str, list[str]] = {"c0": [], "c4": []}
    hollow: list[str] = []  # without a run
    for split in shown:
        a, b = at(split)
        kind = named.get(split.cuts, "")
        if split in ends:
            parts.append(f'<path d="M{a - 4} {b - 4}h8v8h-8z" class="hollow"/>')
        elif kind == "pick":
            style = "c3" if split.runs else "hollow"
            parts.append(f'<path d="{_DIAMOND.format(x=a, top=b - 6)}" class="{style}"/>')
        elif not split.runs:
            hollow.append(f"M{a - 3} {b}a3 3 0 1 0 6 0a3 3 0 1 0-6 0")
        else:
            dots["c4" if kind else "c0"].append(f"M{a} {b}h0")
    parts += [f'<path d="{"".join(d)}" class="dots {kind}"/>' for kind, d in dots.items() if d]
    if hollow:
        parts.append(f'<path d="{"".join(hollow)}" class="hollow"/>')
    parts += _names([(*at(split), split.name) for split in cell.known if split.cuts in named])
    low, high = _ends(cell.known, across)
    foot = HEIGHT - 8
    parts += [
        f'<text x="{_LEFT - 6}" y="{foot}">{low}</text>',
        f'<text x="{WIDTH - 4}" y="{foot}" class="end">{high} {across.unit}</text>',
        f'<text x="{WIDTH / 2:g}" y="{foot}" class="mid">← {across.toward}</text>',
        f'<text x="{_LEFT - 2}" y="11">↑ {up.toward}, to {_ends(cell.known, up)[1]}</text>',
    ]
    return Markup(  # nosec B704 # numbers, and names of splits and units of our own
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">{"".join(parts)}</svg>'
    )


def _scale(values: Sequence[float], start: int, end: int) -> Callable[[float], int]:
    low, high = log(min(values)), log(max(values))
    span = high - low or 1.0
    return lambda value: round(start + (log(value) - low) / span * (end - start))


def _ends(splits: Sequence[Split], objective: Objective) -> tuple[str, str]:
    values = [split.median(objective) for split in splits]
    return number(min(values)), number(max(values))


def _names(placed: Sequence[tuple[int, int, str]]) -> list[str]:
    """Name marks from the top down; where two names would meet, the lower one goes below."""
    texts, taken = [], list[tuple[int, int]]()
    for a, b, name in sorted(placed, key=lambda one: one[1]):
        spot = b - 9
        while any(abs(a - x) < 30 and abs(spot - y) < 13 for x, y in taken):
            spot += 13
        taken.append((a, spot))
        texts.append(f'<text x="{a}" y="{spot}" class="mid name">{escape(name)}</text>')
    return texts
