"""The same sweep measured twice, one after the other: nothing may come out as different.

Needs the virtual testbed for itself. MobileNetV2 from Pi to Pi: 20 splits, two measures, 40
comparisons.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reports.data.cells import Cell
from reports.data.records import read
from reports.objectives import OBJECTIVES
from reports.page.sheet import Sheet
from reports.statistics.difference import quantities, ratios
from reports.words import pairing_name
from tests.campaigns.conftest import Findings

ROOT = Path(__file__).parents[2]
SWEEPS = ("same_first", "same_second")
ALLOWED = 0.05  # of the comparisons may claim a difference


@pytest.fixture(scope="module")
def measured() -> list[list[Cell]]:
    """Return both sweeps' cells, measured unless complete."""
    return [_cells(sweep) for sweep in SWEEPS]


@pytest.mark.timeout(7200)
def test_no_difference_is_claimed(measured: list[list[Cell]], findings: Findings) -> None:
    claimed = total = 0
    for first, second in zip(*measured, strict=True):
        assert first.id == second.id
        for objective in OBJECTIVES:
            found = ratios(quantities(first, objective), quantities(second, objective)).values()
            verdicts = [difference.verdict for difference in found]
            counted = {word: verdicts.count(word) for word in ("equal", "undecided")}
            wrong = len(verdicts) - sum(counted.values())
            changes = sorted(difference.ratio for difference in found)
            findings.add(
                f"{pairing_name(first.pairing):<10} {objective.name:<11} {len(verdicts)} splits: "
                f"{counted['equal']} equal, {counted['undecided']} undecided, {wrong} different; "
                f"ratio {changes[len(changes) // 2]:.3f} [{changes[0]:.3f}, {changes[-1]:.3f}]"
            )
            claimed += wrong
            total += len(verdicts)
    findings.add(f"{total} comparisons, {claimed} claim a difference (allowed {ALLOWED:.0%})")
    assert total >= 40
    assert claimed <= ALLOWED * total


@pytest.mark.timeout(7200)
def test_no_split_is_on_one_front_and_off_the_other(findings: Findings) -> None:
    contrary = total = 0
    sheets = [Sheet.of(read(_folder(sweep))) for sweep in SWEEPS]
    for first, second in zip(*(sheet.cells for sheet in sheets), strict=True):
        one, two = (sheet.judgements[first.id].verdict for sheet in sheets)
        pairs = [{one[split.cuts], two[split.cuts]} for split in first.measured]
        contrary += sum(pair == {"on", "off"} for pair in pairs)
        total += len(pairs)
        undecided = sum("undecided" in pair for pair in pairs)
        findings.add(
            f"{pairing_name(second.pairing):<10} front       {len(pairs)} splits: "
            f"{sum(len(pair) == 1 for pair in pairs)} judged alike, {undecided} undecided in "
            "one or both"
        )
    findings.add(f"{total} splits, {contrary} on one front and off the other")
    assert contrary <= ALLOWED * total


def _cells(sweep: str) -> list[Cell]:
    command = Path(sys.executable).with_name("ansible-playbook")
    options = (
        "experiment=demo scenarios=baseline pairings=pi_to_pi profile=false end_points=false "
        f"sweep={sweep}"
    )
    subprocess.run(
        [command, "playbooks/full_sweep.yml", "-e", options], cwd=ROOT, check=True, timeout=3600
    )
    return list(Sheet.of(read(_folder(sweep))).cells)


def _folder(sweep: str) -> Path:
    return ROOT / "experiments" / "results" / sweep
