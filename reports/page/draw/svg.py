"""Turn a matplotlib figure into a small inline SVG: themed, linked, with unique ids.

matplotlib styles every line by itself. Here neighbours of one style become a path or a group, and
repeated shapes are defined once.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET  # nosec B405 # matplotlib's own output
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from io import StringIO
from itertools import count, groupby
from zlib import crc32

import seaborn as sns
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from reports.page.draw import paths
from reports.page.draw.paths import Path

# Colours of no palette, replaced by the page's own: dark mode is free.
INK, FAINT = "#010203", "#040506"

_COLOURS = {
    INK: "currentColor",
    FAINT: "var(--line)",
    **{
        colour: f"var(--c{index})"
        for index, colour in enumerate(sns.color_palette("colorblind").as_hex())
    },
}
_HREF = "{http://www.w3.org/1999/xlink}href"
# SVG's defaults; the page sets fonts.
_DEFAULTS = {
    **{"fill": "currentColor", "opacity": "1", "fill-opacity": "1", "stroke-opacity": "1"},
    **{"stroke-width": "1", "stroke-linejoin": "miter", "stroke-linecap": "butt"},
    **{"stroke-dasharray": "none", "text-anchor": "start", "font-weight": "400"},
}
_UNUSED = {"font-family", "font-stretch", "stroke-miterlimit"}
_REFERENCE = 36  # characters of a reference; shorter shapes are repeated


@dataclass(frozen=True)
class Point:
    """A chart point's label for readers and screen readers."""

    text: str
    on_front: bool
    id: str = ""  # target of its row's link: in one chart of a page only


@dataclass(frozen=True)
class _Leaf:
    """One drawn thing: a path, or finished text."""

    style: tuple[tuple[str, str], ...]
    link: str = ""  # #row-…, or an address on another page
    path: Path = ()
    text: str = ""
    middle: tuple[float, float] | None = None  # of a link


def inline(figure: Figure, prefix: str, points: Mapping[str, Point]) -> Markup:
    """Return the figure as an ``<svg>`` element, its ids made unique by `prefix`.

    It is drawn in `INK`, `FAINT` and seaborn's colour-blind palette; `points` has labels by row
    id, or by address on another page.
    """
    out = StringIO()
    # Without a date the same figure gives the same bytes.
    figure.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    root = ET.fromstring(out.getvalue())  # nosec B314
    scene = _Scene(root, f"f{crc32(prefix.encode()):x}")
    leaves = [*scene.leaves(root, {}, "")]
    body = _written(scene.shared(leaves), dict(points))
    return Markup(  # nosec B704 # every text in it went through ElementTree
        f'<svg viewBox="{root.attrib["viewBox"]}" role="group" fill="currentColor">'
        f"{scene.definitions()}{body}</svg>"
    )


class _Scene:
    def __init__(self, root: ET.Element, prefix: str) -> None:
        self._known = {f"#{part.attrib['id']}": part for part in root.iter() if "id" in part.attrib}
        self._ids = (f"{prefix}{number}" for number in count())
        self._definitions: dict[str, tuple[str, str]] = {}  # by origin: our id, our text

    def definitions(self) -> str:
        text = "".join(text for _, text in self._definitions.values())
        return f"<defs>{text}</defs>" if text else ""

    def leaves(self, part: ET.Element, above: dict[str, str], link: str) -> Iterator[_Leaf]:
        """Yield visible elements in drawing order, each with its whole style."""
        tag = part.tag.rpartition("}")[2]
        style = {**above, **_style(part)}
        if tag in ("defs", "metadata", "style", "title"):
            return
        if tag in ("svg", "a") or (tag == "g" and "transform" not in part.attrib):
            link = part.attrib.get(_HREF, link)
            below = (leaf for child in part for leaf in self.leaves(child, style, link))
            # Grid line, tick and number take turns without overlap: sorting lets them merge.
            axis = part.attrib.get("id", "").startswith("matplotlib.axis")
            yield from (
                sorted(below, key=lambda leaf: (leaf.text != "", leaf.style)) if axis else below
            )
        elif tag in ("path", "use"):
            yield from self._drawn(part, tag, style, link)
        else:
            yield _Leaf(tuple(sorted(style.items())), link, text=_text(part, tag))

    def _drawn(
        self, part: ET.Element, tag: str, style: dict[str, str], link: str
    ) -> Iterator[_Leaf]:
        origin = self._known[part.attrib[_HREF]] if tag == "use" else part
        style |= _style(origin)
        path = paths.parse(origin.attrib["d"])
        if tag == "use":
            at = (float(part.attrib.get(key, 0)) for key in ("x", "y"))
            path = paths.moved(path, *at)
        # Without a fill SVG draws black.
        painted = [style.get("fill", "currentColor"), style.get("stroke", "none")]
        if not path or style.get("opacity") == "0" or painted == ["none", "none"]:
            return
        middle = None
        if link:
            left, top, right, bottom = paths.bounds(path)
            middle = (left + right) / 2, (top + bottom) / 2
        yield _Leaf(self._resolved(style, path), link, path, middle=middle)

    def _resolved(self, style: dict[str, str], path: Path) -> tuple[tuple[str, str], ...]:
        """Return the sorted attributes; a clip only where it cuts."""
        if "stroke" not in style or style["stroke"] == "none":
            style = {key: value for key, value in style.items() if not key.startswith("stroke")}
        said = dict(style)
        for key in ("clip-path", "fill"):
            origin = re.fullmatch(r"url\((#[^)]+)\)", style.get(key, ""))
            if origin and key == "clip-path" and _inside(path, self._known[origin[1]]):
                del said[key]
            elif origin:
                said[key] = f"url(#{self._defined(origin[1])})"
        return tuple(sorted(said.items()))

    def _defined(self, origin: str) -> str:
        if origin not in self._definitions:
            name = next(self._ids)
            part = self._known[origin]
            text = _raw(part).replace(f'id="{origin[1:]}"', f'id="{name}"', 1)
            self._definitions[origin] = (name, text)
        return self._definitions[origin][0]

    def shared(self, leaves: Sequence[_Leaf]) -> list[_Leaf]:
        """Define repeated shapes once."""
        shapes: list[tuple[Path, list[int]]] = []
        for place, leaf in enumerate(leaves):
            if not leaf.path:
                continue
            x, y = leaf.path[0].at
            shape = paths.moved(leaf.path, -x, -y)
            known = next((uses for other, uses in shapes if paths.alike(shape, other)), None)
            if known is None:
                shapes.append((shape, [place]))
            else:
                known.append(place)
        found = list(leaves)
        for shape, places in shapes:
            if len(places) < 2 or len(data := paths.write(shape, 2)) < _REFERENCE:
                continue
            name = next(self._ids)
            self._definitions[name] = (name, f'<path id="{name}" d="{data}"/>')
            for place in places:
                leaf = leaves[place]
                left, top = (paths.number(value) for value in leaf.path[0].at)
                text = f'<use href="#{name}" x="{left}" y="{top}"/>'
                found[place] = replace(leaf, path=(), text=text)
        return found


def _style(part: ET.Element) -> dict[str, str]:
    """Return an element's style in page colours, SVG's defaults left out."""
    return dict(_stated(part.attrib.get("style", ""), part.attrib.get("clip-path", "")))


@lru_cache(1024)  # a thousand elements share some dozen styles
def _stated(text: str, clip: str) -> Mapping[str, str]:
    pairs = [pair.split(":", 1) for pair in text.split(";") if ":" in pair]
    style = {key.strip(): value.strip() for key, value in pairs}
    if clip:
        style["clip-path"] = clip
    return {
        key: re.sub(r"\d+\.\d{3,}", lambda found: paths.number(float(found[0]), 2), said)
        for key, value in style.items()
        if key not in _UNUSED and (said := _COLOURS.get(value, value)) != _DEFAULTS.get(key)
    }


def _text(part: ET.Element, tag: str) -> str:
    """Return text or another element without its style, which is the leaf's."""
    attributes = {key: value for key, value in part.attrib.items() if key not in ("style", "id")}
    if tag == "text" and attributes.get("transform", "").startswith("rotate(-0 "):
        del attributes["transform"]
    copy = ET.Element(tag, attributes)
    copy.text = part.text
    copy.extend(part)
    return _raw(copy)


def _raw(part: ET.Element) -> str:
    """Return an element as HTML: no namespaces, short numbers."""
    copy = ET.fromstring(ET.tostring(part))  # nosec B314
    for one in copy.iter():
        one.tag = one.tag.rpartition("}")[2]
        one.text, one.tail = (
            said if said and said.strip() else None for said in (one.text, one.tail)
        )
        style = _style(one)
        one.attrib.pop("style", None)
        for key, value in [*one.attrib.items()]:
            del one.attrib[key]
            short = paths.write(paths.parse(value)) if key == "d" else _short(key, value)
            one.attrib[key.rpartition("}")[2]] = short
        one.attrib |= style
    return ET.tostring(copy, encoding="unicode")


def _short(key: str, value: str) -> str:
    if key in ("x", "y", "width", "height", "transform"):
        return re.sub(r"-?\d+\.\d+", lambda found: paths.number(float(found[0])), value)
    return _COLOURS.get(value, value)


def _inside(path: Path, clip: ET.Element) -> bool:
    """Tell whether a path stays inside a clip rectangle, to within half a point."""
    rect = next((part for part in clip if part.tag.endswith("rect")), None)
    if rect is None:
        return False
    x, y, width, height = (float(rect.attrib[key]) for key in ("x", "y", "width", "height"))
    left, top, right, bottom = paths.bounds(path)
    return (
        left > x - 0.5 and top > y - 0.5 and right < x + width + 0.5 and bottom < y + height + 0.5
    )


def _written(leaves: Sequence[_Leaf], points: dict[str, Point]) -> str:
    """Write neighbours of one style as a group, those without a link as one path.

    A point that an inset shows again is there for a pointer only.
    """
    written = []
    for style, group in groupby(leaves, key=lambda leaf: leaf.style):
        parts: list[str] = []
        for (link, drawn), same in groupby(group, key=lambda leaf: (leaf.link, bool(leaf.path))):
            some = [*same]
            # Merged, transparent lines would cross in another shade.
            whole = not link and drawn and not {"opacity", "fill-opacity"} & dict(style).keys()
            data = [leaf.path for leaf in some if leaf.path]
            if whole:
                data = [tuple(step for path in data for step in path)]
            text = "".join(f'<path d="{paths.write(path)}"/>' for path in data)
            text += "".join(leaf.text for leaf in some)
            text += "".join(_touched(*leaf.middle) for leaf in some if leaf.middle)
            parts.append(_linked(text, link, points) if link else text)
            if row := points.get(link[1:]):
                points[link[1:]] = replace(row, text="")
        attributes = "".join(f' {key}="{escape(value)}"' for key, value in style)
        body = "".join(parts)
        if body.count("/>") == body.count("<") == 1:
            written.append(body.replace("/>", f"{attributes}/>"))
        else:
            written.append(f"<g{attributes}>{body}</g>" if attributes else body)
    return "".join(written)


def _touched(x: float, y: float) -> str:
    """Return what a finger hits: the page makes it 24 pixels wide, whatever the mark's size."""
    return f'<path d="M{paths.number(x)} {paths.number(y)}h0"/>'


def _linked(body: str, link: str, points: Mapping[str, Point]) -> str:
    row = link.removeprefix("#")
    point = points.get(row)
    if point is None:
        return f'<a href="{escape(link)}">{body}</a>'
    kind = "point front" if point.on_front else "point"
    if not point.text:
        return (
            f'<a href="{escape(link)}" class="{kind}" tabindex="-1" aria-hidden="true">{body}</a>'
        )
    # Shown by a pointer, read out as the link's name.
    title = f"<title>{escape(point.text)}</title>"
    place = f' id="{point.id}"' if point.id else ""
    return f'<a href="{escape(link)}"{place} class="{kind}">{title}{body}</a>'
