"""SVG charts in a page: small, themed, linked, and true to matplotlib."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import matplotlib as mpl
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.page.draw import paths
from reports.page.draw.svg import INK, Point, inline


@pytest.fixture(autouse=True)
def text_as_text() -> Iterator[None]:
    """Let matplotlib write text as text, as the report does."""
    with mpl.rc_context({"svg.fonttype": "none"}):
        yield


def chart() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4, 3))
    return figure, figure.subplots()


def test_a_path_is_written_short_and_stays_the_same() -> None:
    text = "M 10.04 20 L 30 20 L 30 40.26 L 10.04 40.26 L 10.04 20 z M 1 -2 C 0.04 1 2 3 -4.5 5"
    assert paths.write(paths.parse(text)) == "M10 20H30V40.3H10zM1-2C0 1 2 3-4.5 5"
    assert paths.bounds(paths.parse("M 1 2 L 3 -4")) == (1, -4, 3, 2)


def test_a_line_without_length_says_its_place_once() -> None:
    assert paths.write(paths.parse("M 1.5 2 L 1.5 2 M 3 2 L 3 2")) == "M1.5 2h0M3 2h0"


def test_a_line_back_to_the_start_that_is_not_closed_is_kept() -> None:
    assert paths.write(paths.parse("M 1 1 L 5 5 L 1 1")) == "M1 1L5 5L1 1"


def test_neighbours_of_one_style_are_one_path() -> None:
    figure, axes = chart()
    for y in range(40):
        axes.plot((0, 1), (y, y + 0.5), color=INK, linewidth=2.5)
    text = inline(figure, "lines", {})
    drawn = [part for part in ET.fromstring(text).iter("path") if part.get("stroke-width") == "2.5"]
    assert len(drawn) == 1
    assert drawn[0].get("d", "").count("M") == 40
    assert drawn[0].get("stroke") == "currentColor"


def test_points_are_one_shape_and_lead_where_they_should() -> None:
    figure, axes = chart()
    marks = axes.scatter(range(6), range(6), s=[40] * 6)
    marks.set_urls([*(f"#row-{k}" for k in range(5)), "other.html#row-5"])
    told = {f"row-{k}": Point(f"P{k} <b>", k == 2, f"at-{k}") for k in range(5)}
    text = inline(figure, "points", told)
    root = ET.fromstring(text)
    links = [*root.iter("a")]
    assert [link.get("href") for link in links] == [
        *(f"#row-{k}" for k in range(5)),
        "other.html#row-5",
    ]
    assert [link.get("id") for link in links] == [*(f"at-{k}" for k in range(5)), None]
    assert [link.get("class") for link in links][1:3] == ["point", "point front"]
    assert [link.findtext("title") for link in links] == [*(f"P{k} <b>" for k in range(5)), None]
    shapes = {use.get("href") for use in root.iter("use")}
    assert len(shapes) == 1
    assert text.count(shapes.pop() or "none") == 6


def test_only_what_would_be_cut_off_is_clipped() -> None:
    figure, axes = chart()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.plot((0.2, 0.8), (0.5, 0.5), color="#aa0000")
    assert "clip" not in inline(figure, "inside", {})
    axes.plot((0.2, 3.0), (0.6, 0.6), color="#bb0000")
    text = inline(figure, "outside", {})
    [clip] = re.findall(r'<clipPath id="(\w+)">', text)
    [cut] = re.findall(r'<path[^>]*stroke="#bb0000"[^>]*>', text)
    assert f'clip-path="url(#{clip})"' in cut
    assert text.count("clip-path=") == 1


@pytest.mark.parametrize("name", ["<script>", "a & b", '"quoted"'])
def test_any_name_can_stand_on_an_axis(name: str) -> None:
    figure, axes = chart()
    axes.set_yticks([0, 1], [name, "P1"])
    root = ET.fromstring(inline(figure, "names", {}))
    texts = [part.text for part in root.iter("text")]
    assert name in texts


def test_ids_of_two_figures_of_a_page_differ() -> None:
    found = []
    for prefix in ("one", "two"):
        figure, axes = chart()
        axes.bar([0, 1], [1, 2], hatch="//")
        found.append(set(re.findall(r'id="(\w+)"', inline(figure, prefix, {}))))
    assert all(found)
    assert not found[0] & found[1]
