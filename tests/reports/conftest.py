"""A synthetic sweep, read and rendered once for all tests of the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.data.records import read
from reports.page.render import render
from tests.reports import synthetic_sweep


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with four cells, end points, sentinels and a block measured twice.

    Its block profiles and links are there too; tests that change files make their own folder.
    """
    folder = tmp_path_factory.mktemp("synthetic")
    synthetic_sweep.write(
        folder, end_points=True, sentinels=True, again=[2], profiles=True, links=True
    )
    return folder


@pytest.fixture(scope="session")
def page(sweep: Path) -> str:
    """Return the HTML of the sweep."""
    return render(read(sweep))[0]


@pytest.fixture(scope="session")
def table(sweep: Path) -> str:
    """Return the CSV of the sweep."""
    return render(read(sweep))[1]


@pytest.fixture(scope="session")
def kinds_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with cells that differ in backend, engine or allocators only."""
    folder = tmp_path_factory.mktemp("kinds")
    synthetic_sweep.write_kinds(folder)
    return folder


@pytest.fixture(scope="session")
def kinds_page(kinds_sweep: Path) -> str:
    """Return the HTML of that folder."""
    return render(read(kinds_sweep))[0]
