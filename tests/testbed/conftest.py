"""Testbeds under test: the one that all tests share, and one to break, which nobody else has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.testbed.machines import Testbed, shared, why_not


def _require_machine() -> None:
    if said := why_not():
        pytest.skip(said)


@pytest.fixture(scope="session")
def testbed() -> Testbed:
    """A testbed that is up, for tests that leave it as they found it."""
    _require_machine()
    return shared()[0]


@pytest.fixture
def spare() -> Iterator[Testbed]:
    """A testbed that is down, for tests that break it."""
    _require_machine()
    testbed = Testbed(8)
    if testbed.folder.exists():  # an earlier run was killed
        testbed.play("testbed_state=absent")
    yield testbed
    if testbed.folder.exists():  # the test has failed
        testbed.play("testbed_state=absent")
