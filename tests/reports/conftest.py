"""A synthetic sweep, read and rendered once for all report tests."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from reports.data.records import read
from reports.page.render import pages
from tests.made import sweep as synthetic
from tests.reader import headless

MODEL = "mobilenetv2.html"


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four cells with end points, sentinels, profiles, links and a round measured twice."""
    folder = tmp_path_factory.mktemp("synthetic")
    synthetic.write(folder, end_points=True, sentinels=True, again=[2], profiles=True, links=True)
    return folder


@pytest.fixture(scope="session")
def sweep_files(sweep: Path) -> dict[str, str]:
    return pages(read(sweep))


@pytest.fixture(scope="session")
def page(sweep_files: dict[str, str]) -> str:
    return sweep_files[MODEL]


@pytest.fixture(scope="session")
def table(sweep_files: dict[str, str]) -> str:
    return sweep_files["runs.csv"]


@pytest.fixture(scope="session")
def coded_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A cell that has every split with two codecs beside none."""
    folder = tmp_path_factory.mktemp("coded")
    asked = {"end_points": True, "sentinels": True, "codecs": ["none", "int8", "int4"]}
    lines = synthetic.cell(random.Random(1), scenario="wan", repeats=3, **asked)
    synthetic.write_cell(folder, [*lines])
    return pages(read(folder))


@pytest.fixture(scope="session")
def coded_page(coded_files: dict[str, str]) -> str:
    return coded_files[MODEL]


@pytest.fixture(scope="session")
def kinds_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells that differ in backend, engine or allocators only."""
    folder = tmp_path_factory.mktemp("kinds")
    synthetic.write_kinds(folder)
    return folder


@pytest.fixture(scope="session")
def kinds_files(kinds_sweep: Path) -> dict[str, str]:
    return pages(read(kinds_sweep))


@pytest.fixture(scope="session")
def kinds_page(kinds_files: dict[str, str]) -> str:
    return kinds_files[MODEL]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with headless() as browser:
        yield browser
