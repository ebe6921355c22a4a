"""The browser that tests look at pages with, and what every page has to hold to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

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
