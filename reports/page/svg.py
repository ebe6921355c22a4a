"""Turn a figure into SVG that lives inside a page: themed, linked, without foreign ids."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO

import seaborn as sns
from markupsafe import Markup, escape
from matplotlib.figure import Figure

# Colours no palette has: after drawing they become the page's own, so dark mode is free.
INK, FAINT = "#010203", "#040506"


@dataclass(frozen=True)
class Point:
    """What a reader hears or sees about one point of a chart."""

    text: str
    on_front: bool


def inline(figure: Figure, prefix: str, points: Mapping[str, Point]) -> Markup:
    """Return the figure as an ``<svg>`` element.

    Parameters
    ----------
    figure
        Drawn with the colours above and seaborn's colour-blind palette.
    prefix
        Goes before every id, because several figures share one page.
    points
        Per linked row id, the text of its point.
    """
    out = StringIO()
    # Without a date the same figure gives the same bytes.
    figure.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"\s*<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'<style type="text/css">.*?</style>', "", text, count=1, flags=re.DOTALL)
    text = re.sub(r"<[^>]+>", _rounded, text)
    text = _head(text)
    text = _prefixed(text, prefix)
    text = _themed(text)
    return Markup(_linked(text, points))


def _rounded(tag: re.Match[str]) -> str:
    """Round coordinates to a hundredth of a point, finer than any screen: a smaller page.

    Inside tags only: what stands between them is text, such as the numbers on an axis.
    """
    return re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", tag[0])


def _head(text: str) -> str:
    """Let the page set the size, and drop namespaces that HTML does not need."""
    head, rest = text.split(">", 1)
    box = re.search(r'viewBox="[^"]+"', head)
    if box is None:
        raise ValueError("the SVG has no viewBox")
    return f'<svg {box[0]} aria-hidden="false" role="group">{rest}'


def _prefixed(text: str, prefix: str) -> str:
    for name in sorted(set(re.findall(r'\bid="([^"]+)"', text)), key=len, reverse=True):
        text = text.replace(f'id="{name}"', f'id="{prefix}-{name}"')
        text = text.replace(f'href="#{name}"', f'href="#{prefix}-{name}"')
        text = text.replace(f"url(#{name})", f"url(#{prefix}-{name})")
    return text.replace("xlink:href", "href")


def _themed(text: str) -> str:
    text = text.replace(INK, "currentColor").replace(FAINT, "var(--line)")
    for number, colour in enumerate(sns.color_palette("colorblind").as_hex()):
        text = text.replace(colour, f"var(--c{number})")
    return text


def _linked(text: str, points: Mapping[str, Point]) -> str:
    for row, point in points.items():
        kind = "point front" if point.on_front else "point"
        label = escape(point.text)
        opening = f'<a href="#{row}" class="{kind}" aria-label="{label}"><title>{label}</title>'
        # matplotlib would open a new tab, which makes no sense for a row of the same page.
        text = text.replace(f'<a href="#{row}" target="_blank">', opening)
    return text
