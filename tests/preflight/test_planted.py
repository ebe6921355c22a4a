"""Each planted fault is found by its own check, in one sentence, and by no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from roles.preflight.judging.judge import judge
from tests import namespaces
from tests.preflight import table
from tests.preflight.good import ASKED, host
from tests.preflight.planted import Fault, faults, found

FAULTS = list(faults())
needs_root = namespaces.needed("ip", "tc")


@needs_root
@pytest.mark.parametrize("fault", FAULTS, ids=[f"{f.check}: {f.planted}" for f in FAULTS])
def test_it_is_found(fault: Fault, tmp_path: Path) -> None:
    (finding,) = fault.plant(tmp_path)
    assert finding.check == fault.check or fault.check in ("reachable", "host key")
    assert finding.level in ("note", "stop")
    assert "\n" not in finding.sentence
    # What was seen, then what was expected or is to be done.
    assert any(mark in finding.text for mark in (":", ";"))
    assert len(finding.sentence) < 400


def test_every_check_has_its_fault() -> None:
    checks = {finding.check for finding in judge([host()], ASKED)}
    assert checks <= {fault.check for fault in FAULTS}


def test_nothing_is_found_where_nothing_is_planted() -> None:
    assert found(host("pi1"), host("pi2"), asked=ASKED) == []


@needs_root
def test_the_page_has_what_is_said() -> None:
    assert table.PATH.read_text(encoding="utf-8") == table.text(), (
        "docs/preflight.md is not what the checks say: run `python -m tests.preflight.table`"
    )
