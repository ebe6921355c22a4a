"""The browser that tests look at pages with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright


@contextmanager
def headless() -> Iterator[Browser]:
    """Run the system's Chromium without a window; without one the test fails."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("no chromium here, expected one: install the chromium package")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
