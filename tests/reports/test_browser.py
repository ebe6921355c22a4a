"""The pages in a browser, opened from disk: no server, no network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests import reader
from tests.reader import Tab, empty_tab
from tests.reports.conftest import MODEL


def written(files: dict[str, str], folder: Path) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder


@pytest.fixture(scope="module")
def site(sweep_files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the synthetic sweep's pages."""
    return written(sweep_files, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def kinds_site(kinds_files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the pages that compare backends, engines and allocators."""
    return written(kinds_files, tmp_path_factory.mktemp("kinds_site"))


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    """Yield an empty tab, then check for errors and requests."""
    with empty_tab(browser) as tab:
        yield tab


def test_a_point_lights_up_its_row_and_leads_to_it_and_back(tab: Tab, site: Path) -> None:
    reader.follow_a_point(tab, site / MODEL)


def test_the_sliders_move_the_predicted_front(tab: Tab, site: Path) -> None:
    reader.move_the_sliders(tab, site / MODEL)


def test_the_index_leads_to_the_model_and_to_a_row(tab: Tab, site: Path) -> None:
    reader.come_from_the_index(tab, site / MODEL)


@pytest.mark.parametrize("folder", ["site", "kinds_site"])
@pytest.mark.parametrize("look", [reader.sort_every_table, reader.hold_it_narrow])
def test_every_table_sorts_and_nothing_is_wider_than_the_screen(
    tab: Tab,
    folder: str,
    look: Callable[[Tab, Path], None],
    request: pytest.FixtureRequest,
) -> None:
    site: Path = request.getfixturevalue(folder)
    look(tab, site / MODEL)


def test_a_keyboard_reaches_points_and_rows(tab: Tab, site: Path) -> None:
    tab.page.goto((site / MODEL).as_uri())
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.className") == "skip"
    point = tab.page.locator("#fronts a.point").nth(2)
    point.focus()
    tab.page.keyboard.press("Tab")
    tab.page.keyboard.press("Shift+Tab")
    assert point.evaluate("point => point.matches(':focus-visible')") is True
    assert point.evaluate("point => getComputedStyle(point).outlineStyle") == "solid"
    row = tab.page.locator(f"[id='{(point.get_attribute('href') or '')[1:]}']")
    assert row.evaluate("row => row.classList.contains('hot')") is True
    tab.page.keyboard.press("Enter")
    assert tab.hash() == point.get_attribute("href")
    heading = tab.page.locator("table.splits thead button").nth(1)
    heading.focus()
    tab.page.keyboard.press("Enter")
    assert heading.evaluate("one => one.closest('th').ariaSort") == "ascending"


def values(page: Page, column: int) -> list[float | None]:
    """Return a column's sort values in the first table of splits."""
    cells = page.locator("table.splits").first.locator(f"tbody tr > :nth-child({column + 1})")
    texts = cells.evaluate_all("all => all.map(one => one.dataset.value ?? one.textContent)")
    return [float(text) if text else None for text in texts]


def test_a_numeric_column_sorts_both_ways(tab: Tab, site: Path) -> None:
    tab.page.goto((site / MODEL).as_uri())
    labels = tab.page.locator("table.splits").first.locator("thead button").all_text_contents()
    column = next(place for place, label in enumerate(labels) if label.startswith("Latency"))
    before = values(tab.page, column)
    button = tab.page.locator("table.splits").first.locator("thead button").nth(column)
    button.click()
    known = sorted(value for value in before if value is not None)
    assert len(known) >= 20
    missing: list[float | None] = [None] * before.count(None)
    assert values(tab.page, column) == known + missing
    button.click()
    assert values(tab.page, column) == known[::-1] + missing
    assert before != known[::-1] + missing


def test_the_first_click_on_throughput_puts_the_highest_first(tab: Tab, site: Path) -> None:
    tab.page.goto((site / MODEL).as_uri())
    tab.page.locator("table.splits").first.locator("thead button").nth(2).click()
    known = [value for value in values(tab.page, 2) if value is not None]
    assert known == sorted(known, reverse=True)


@pytest.mark.parametrize("width", [1400, pytest.param(900, marks=pytest.mark.thorough), 390])
def test_the_first_screen_decides(tab: Tab, site: Path, width: int) -> None:
    tab.page.set_viewport_size({"width": width, "height": 900 if width > 390 else 844})
    tab.page.goto((site / MODEL).as_uri())
    for part in (".decided .choice", ".mini svg"):
        box = tab.page.locator(part).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= (900 if width > 390 else 844), part
    for _ in range(15):
        tab.page.keyboard.press("Tab")
        if tab.page.evaluate("document.activeElement.closest('#verdict') !== null"):
            break
    assert tab.page.evaluate("document.activeElement.closest('#verdict') !== null")
    if width == 1400:
        region = tab.page.locator("#splits .scroll").first
        front = region.locator("tbody tr").first.locator("td:not([hidden])").nth(2).bounding_box()
        edge = region.bounding_box()
        assert front is not None
        assert edge is not None
        assert front["x"] + front["width"] <= edge["x"] + edge["width"]


def test_what_a_finger_hits_is_large_enough(tab: Tab, site: Path) -> None:
    tab.page.set_viewport_size({"width": 390, "height": 844})
    tab.page.goto((site / MODEL).as_uri())
    small = tab.page.evaluate(
        """() => [...document.querySelectorAll(
          "summary, button, input, #verdict dd a, #verdict .choice a, tbody th a, nav a"
        )].filter((one) => one.checkVisibility()).map((one) => [one, one.getBoundingClientRect()])
          .filter(([, box]) => box.width < 23.9 || box.height < 23.9)
          .map(([one, box]) => `${one.outerHTML.slice(0, 80)} ${box.width}x${box.height}`)"""
    )
    assert small == []
    # A mark's box is the mark; what is hit is drawn around it.
    point = tab.page.locator("#fronts a.point [d$=h0]").first
    assert point.evaluate("one => getComputedStyle(one).strokeWidth") == "24px"
    assert tab.page.locator("a.point:not(:has([d$=h0]))").count() == 0


def test_the_filter_goes_over_all_tables(tab: Tab, site: Path) -> None:
    tab.page.goto((site / MODEL).as_uri())
    rows = tab.page.locator("table.sorts tbody tr")
    left = tab.page.locator("table.sorts tbody tr:not([hidden])")
    total = rows.count()
    tab.page.get_by_label("Filter all tables").fill("features.16")
    assert 0 < left.count() < total
    assert all("features.16" in text for text in left.all_text_contents())
    assert (
        tab.page.locator("#shown").text_content() == f"{left.count()} of {total} table rows shown"
    )
    tab.page.get_by_label("Filter all tables").fill("")
    tab.page.get_by_label("Only the front").check()
    shown = tab.page.locator("table.splits tbody tr:not([hidden])")
    assert shown.count() > 0
    assert shown.evaluate_all("all => all.every(row => row.classList.contains('front'))")
    # A link to a filtered row shows it.
    off = tab.page.locator("#fronts a.point:not(.front)").first
    off.focus()
    tab.page.keyboard.press("Enter")
    tab.page.locator(f"[id='{(off.get_attribute('href') or '')[1:]}']").wait_for(state="visible")
    assert left.count() == total


def test_on_a_narrow_screen_the_sections_fold(tab: Tab, site: Path) -> None:
    tab.page.set_viewport_size({"width": 400, "height": 900})
    tab.page.goto((site / MODEL).as_uri())
    link = tab.page.locator("nav a[href='#methods']")
    assert not link.is_visible()
    tab.page.locator(".contents summary").click()
    link.click()
    assert tab.hash() == "#methods"
    assert not link.is_visible()  # hidden again
    assert tab.page.locator(".contents summary").is_visible()  # still visible


def test_it_follows_the_dark_theme(tab: Tab, site: Path) -> None:
    tab.page.goto((site / MODEL).as_uri())
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('#fronts svg text')).fill"
    light = tab.page.evaluate(ground), tab.page.evaluate(ink)
    tab.page.emulate_media(color_scheme="dark")
    dark = tab.page.evaluate(ground), tab.page.evaluate(ink)
    assert brightness(light[0]) > 200 > 60 > brightness(dark[0])
    assert brightness(light[1]) < 60 < 200 < brightness(dark[1])


def brightness(colour: str) -> float:
    """Return the mean of an opaque colour's red, green and blue."""
    parts = [int(part) for part in re.findall(r"\d+", colour)]
    assert len(parts) == 3, colour
    return sum(parts) / 3


def test_it_prints(tab: Tab, site: Path) -> None:
    tab.page.goto((site / MODEL).as_uri())
    tab.page.emulate_media(media="print")
    for hidden in ("nav", ".controls", "input[type=range]", "#downloads"):
        assert not tab.page.locator(hidden).first.is_visible(), hidden
    # Folded on the screen, printed on paper.
    folded = tab.page.locator("main details:not([open]):not(.screen) table").first
    assert folded.is_visible()
    printed = tab.page.pdf(prefer_css_page_size=True)
    assert printed.startswith(b"%PDF")
    sheets = len(re.findall(rb"/Type\s*/Page\b", printed))
    assert 1 < sheets < 60


def test_without_scripts_it_is_a_whole_document(browser: Browser, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / MODEL).as_uri())
    assert page.locator("nav a[href='#methods']").is_visible()
    for control in ("#find", "#whatif input"):
        assert not page.locator(control).first.is_visible(), control
    page.locator("#fronts a.point").first.click(force=True)
    assert page.locator("tr:target").count() == 1
    context.close()
