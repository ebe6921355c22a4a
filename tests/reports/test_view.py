"""What a reader does with the page: keep its address, point, compare two, take away."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from playwright.sync_api import Browser, Locator, Page

from reports.data.records import read
from reports.objectives import OBJECTIVES
from reports.page.sheet import Sheet
from tests.reader import Tab, empty_tab
from tests.reports.conftest import MODEL


@pytest.fixture(scope="module")
def address(page: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    file: Path = tmp_path_factory.mktemp("view") / MODEL
    file.write_text(page, encoding="utf-8", newline="")
    return file.as_uri()


@pytest.fixture
def tab(browser: Browser, address: str) -> Iterator[Tab]:
    """Yield the page, then check for errors and requests."""
    with empty_tab(browser) as tab:
        tab.page.goto(address)
        yield tab


def look(page: Page) -> dict[str, list[str]]:
    """Return what goals, dials, sorts and filters show."""
    texts = {
        name: [text.strip() for text in page.locator(where).all_text_contents()]
        for name, where in {
            "goals": "#goals li:not([hidden])",
            "dials": "#whatif output, #whatif figure p[aria-live]",
            "rows": "table.splits >> nth=0 >> tbody tr:not([hidden]) >> th, td:nth-child(4)",
            "sorted": "[aria-sort=descending]",
            "pair": ".pair tbody tr",
            "shown": "#shown",
        }.items()
    }
    return {**texts, "goal": [page.locator("#goal").input_value()]}


def test_the_address_shows_the_same_view_again(tab: Tab, address: str) -> None:
    page, plain = tab.page, look(tab.page)
    assert "#" not in page.url
    page.locator("#goal").fill("latency<900ms,throughput>9")
    page.locator("#whatif-rtt").focus()
    page.keyboard.press("PageDown")
    page.get_by_role("button", name="Throughput (images/s)").first.click()
    page.get_by_label("Filter all tables").fill("features.1")
    for button in page.locator("table.splits tr:not([hidden]) .pick").all()[2:4]:
        button.click()
    for name in ("goal", "net", "sort", "find", "pair"):
        page.wait_for_function("name => location.hash.includes(`${name}=`)", arg=name)
    seen = look(page)
    assert all(seen[name] != plain[name] for name in seen)
    kept = page.url
    page.goto("about:blank")
    page.goto(kept)
    assert look(page) == seen
    # A link inside the page leaves it as it is, and leads somewhere.
    page.locator("nav a[href='#methods']").click()
    page.wait_for_function("location.hash.startsWith('#methods?goal=')")
    assert look(page) == seen
    place = page.url
    page.goto("about:blank")
    page.goto(place)
    assert look(page) == seen
    assert page.locator("section:target").get_attribute("id") == "methods"
    # Another address in the same tab is another view.
    page.evaluate("address => { location.href = address; }", f"{address}#?sort=0.1")
    page.wait_for_function("document.getElementById('goal').value === ''")
    assert {**look(page), "rows": []} == {**plain, "rows": []}


def test_a_point_says_beside_itself_what_it_means(tab: Tab) -> None:
    page = tab.page
    tip, point = page.locator(".tip"), page.locator("#fronts a.point").nth(1)
    assert not tip.is_visible()
    point.focus()
    assert tip.text_content() == point.get_attribute("aria-label")
    one, other = point.bounding_box(), tip.bounding_box()
    assert one is not None
    assert other is not None
    assert abs(one["y"] - other["y"]) < other["height"] + 40
    page.keyboard.press("Escape")
    assert not tip.is_visible()


def test_nothing_to_press_is_smaller_than_24_pixels(tab: Tab) -> None:
    page = tab.page
    page.locator("#goal").fill("latency<900ms")
    small = page.locator("button, input, summary, nav a, tbody th a, label.tick").evaluate_all(
        """all => all.filter((one) => !one.matches("[type=checkbox]") && one.checkVisibility())
          .map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
          .filter(([, box]) => Math.min(box.width, box.height) < 23.99)"""
    )
    assert small == []
    # A mark is smaller, but what is 12 px off its middle is still its own.
    point = page.locator("#fronts a.point").first
    alone = page.evaluate(
        """() => {
          const middle = (one) => {
            const box = one.getBoundingClientRect();
            return [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
          };
          const chart = document.querySelector("#fronts figure svg");
          const points = [...chart.querySelectorAll("a.point")];
          const apart = (a, b) => Math.hypot(...middle(a).map((at, way) => at - middle(b)[way]));
          return points.findIndex((a) => points.every((b) => a === b || apart(a, b) > 40));
        }"""
    )
    assert alone >= 0
    point = page.locator("#fronts figure svg").first.locator("a.point").nth(alone)
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for dx, dy in ((11.9, 0), (-11.9, 0), (0, 11.9), (0, -11.9)):
        page.mouse.move(0, 0)
        assert "hot" not in (point.get_attribute("class") or "")
        page.mouse.move(middle[0] + dx, middle[1] + dy)
        assert "hot" in (point.get_attribute("class") or ""), (dx, dy)
    page.mouse.click(middle[0] + 11.9, middle[1])
    assert tab.hash().startswith(f"{point.get_attribute('href')}?")


def test_two_splits_are_told_apart_as_the_report_tells_them_apart(tab: Tab, sweep: Path) -> None:
    [sheet] = Sheet.each(read(sweep))
    cell = sheet.cells[0]
    contest, (first, *others) = sheet.contests[cell.id], cell.measured
    page = tab.page
    words = {"better": "beyond noise", "worse": "beyond noise", "undecided": "may be noise"}
    seen = set()
    pick(page, first.row_id)
    for other in others:
        pick(page, other.row_id)
        lines = page.locator(".pair tbody tr").all()
        for objective, line in zip(OBJECTIVES, lines, strict=False):
            outcome = contest.outcome(first.cuts, other.cuts, objective)
            text = line.text_content() or ""
            assert words.get(outcome, "too little to matter") in text, (other.name, outcome)
            share = 100 * (other.median(objective) / first.median(objective) - 1)
            found = re.search(r"([+−])([\d.]+)\xa0%", text)
            assert found is not None
            assert abs(float(found[2]) - abs(share)) < 0.6
            seen.add(outcome)
        pick(page, other.row_id)
    assert seen >= {"better", "worse"}
    # Another network: no round is common, so the intervals decide.
    pick(page, sheet.cells[1].measured[0].row_id)
    assert page.locator(".pair tbody tr").count() > 2
    page.get_by_role("button", name="Close").click()
    assert not page.locator(".pair").is_visible()
    points = page.locator("#fronts figure svg").first.locator("a.point")
    for place in (0, 1):
        points.nth(place).focus()
        page.keyboard.press("Shift+Enter")
    assert page.locator(".pair tbody tr").count() > 2


def pick(page: Page, row: str) -> None:
    page.locator(f"[id='{row}'] .pick").click()


def test_a_table_is_taken_as_csv(tab: Tab) -> None:
    page = tab.page
    page.locator("#find").fill("P1")
    table = page.locator("table.splits").first
    rows = [line.split(",") for line in table.evaluate("table => take.csv(table)").splitlines()]
    assert rows[0][:3] == ["Split", "Latency (s)", "Throughput (images/s)"]
    names = [row[0] for row in rows[1:]]
    assert names == [
        (text or "").strip()
        for text in table.locator("tbody tr:not([hidden]) th a").all_text_contents()
    ]
    assert all(float(row[1]) > 0 for row in rows[1:])
    button = page.get_by_role("button", name="Copy CSV").first
    button.click()
    page.wait_for_function("one => one.textContent === 'Copied'", arg=button.element_handle())


def test_a_figure_is_taken_as_svg_and_png(tab: Tab) -> None:
    page = tab.page
    for section in ("#fronts", "#whatif"):
        tools = page.locator(f"{section} figure .tools").first
        drawn = taken(tools.locator("button").nth(0), page)
        text = unquote(drawn.partition(",")[2])
        assert "var(" not in text
        root = ET.fromstring(text)
        marks = [part for part in root.iter() if part.tag.endswith(("}path", "}use"))]
        assert len(marks) > 20
        assert all(part.get("fill", "none") != "currentColor" for part in marks)
    bitmap = taken(page.locator("#fronts .tools button").nth(1), page)
    assert base64.b64decode(bitmap.partition(",")[2]).startswith(b"\x89PNG")


def taken(button: Locator, page: Page) -> str:
    """Press a button; return the address of what it saves."""
    with page.expect_download() as waiting:
        button.click()
    return waiting.value.url
