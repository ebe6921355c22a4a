"""A reader of reports, whoever measured what is in them: the browser, and what is done there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright


@dataclass
class Tab:
    """A page with everything that went wrong in it, and everything it asked for."""

    page: Page
    wrong: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def hash(self) -> str:
        """Return where in the page the address points."""
        return str(self.page.evaluate("decodeURIComponent(location.hash)"))


@contextmanager
def headless() -> Iterator[Browser]:
    """Run the system's Chromium without a window; without one the test is skipped."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is missing: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def empty_tab(browser: Browser) -> Iterator[Tab]:
    """Open an empty tab; by the end nothing may have gone wrong or out."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(10_000)
    tab = Tab(context.new_page())
    tab.page.on("console", lambda message: tab.wrong.append(f"console: {message.text}"))
    tab.page.on("pageerror", lambda error: tab.wrong.append(f"error: {error}"))
    tab.page.on("request", lambda request: tab.requests.append(request.url))
    yield tab
    context.close()
    assert tab.wrong == []
    assert [url for url in tab.requests if not url.startswith(("file://", "data:"))] == []


def follow_a_point(tab: Tab, page: Path) -> None:
    """Point at a split in a chart: its row lights up; go there and back."""
    tab.page.goto(page.as_uri())
    point = tab.page.locator("#fronts a.point").first
    row = tab.page.locator(f"[id='{(point.get_attribute('href') or '')[1:]}']")
    assert row.evaluate("row => row.classList.contains('hot')") is False
    point.hover(force=True)
    assert row.evaluate("row => row.classList.contains('hot')") is True
    tip = tab.page.locator(".tip")
    assert tip.is_visible()
    assert tip.text_content() == point.get_attribute("aria-label")
    point.click(force=True)
    assert tab.hash() == point.get_attribute("href")
    assert row.evaluate("row => row.matches(':target')") is True
    marked = row.locator("td").first.evaluate("cell => getComputedStyle(cell).backgroundColor")
    assert marked != tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    back = row.locator("th a")
    back.hover()
    assert point.evaluate("point => point.classList.contains('hot')") is True
    back.click()
    assert tab.hash() == f"#{point.get_attribute('id')}"
    assert point.evaluate("point => point.matches(':target')") is True
    box = point.bounding_box()
    assert box is not None
    assert 0 <= box["y"] <= 900


def sort_every_table(tab: Tab, page: Path) -> None:
    """Press every heading that sorts: the rows stay, and one heading says that it did."""
    tab.page.goto(page.as_uri())
    wrong = tab.page.evaluate(
        """() => [...document.querySelectorAll("table.sorts")].flatMap((table) => {
          const rows = [...table.tBodies[0].rows].length;
          return [...table.querySelectorAll("thead button")].filter((button) => {
            button.click();
            const heading = button.closest("th");
            const sorted = heading.ariaSort === "none" || table.tBodies[0].rows.length !== rows;
            return sorted || table.querySelectorAll("[aria-sort$=cending]").length !== 1;
          }).map((button) => button.textContent);
        })"""
    )
    assert wrong == []


def move_the_sliders(tab: Tab, page: Path) -> None:
    """Ask for another network: what is predicted moves, in the chart and in words."""
    tab.page.goto(page.as_uri())
    section = tab.page.locator("#whatif")
    sliders = section.locator("input[type=range]")
    assert sliders.count() == 2
    chart = section.locator("figure svg").first
    for slider in sliders.all():
        before = chart.inner_html(), section.locator("output").all_text_contents()
        slider.focus()
        start = slider.input_value()
        tab.page.keyboard.press("PageDown")
        tab.page.keyboard.press("PageDown")
        assert slider.input_value() != start
        after = chart.inner_html(), section.locator("output").all_text_contents()
        assert after[0] != before[0]
        assert after[1] != before[1]


def come_from_the_index(tab: Tab, page: Path) -> None:
    """Choose the model in the index, and a split in its verdict."""
    tab.page.goto((page.parent / "index.html").as_uri())
    tab.page.locator(f"a[href='{page.name}']").first.click()
    assert tab.page.url == page.as_uri()
    link = tab.page.locator("#verdict a[href^='#row-']").first
    link.click()
    row = tab.page.locator("tr:target")
    assert f"#{row.get_attribute('id')}" == link.get_attribute("href")
    box = row.bounding_box()
    assert box is not None
    assert 0 <= box["y"] <= 900


def hold_it_narrow(tab: Tab, page: Path) -> None:
    """Turn every fold open on ever narrower screens: nothing is wider than they are."""
    for name in ("index.html", page.name):
        tab.page.goto((page.parent / name).as_uri())
        tab.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        for width in (1200, 800, 400):
            tab.page.set_viewport_size({"width": width, "height": 900})
            assert tab.page.evaluate("innerWidth") == width
            assert tab.page.evaluate(
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            ), (name, width)
