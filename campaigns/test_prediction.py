"""Predictions from profiles beside what was measured: at most 10 % off in the median.

On the virtual testbed, which must be free: three models, five splits and both end points each, two
pairings, the bare network and 20 ms / 50 Mbit/s. The profiles are measured before the sweep and by
other runs: nothing of a prediction comes from the cells it is compared with.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from campaigns.conftest import Findings
from reports.data.records import read
from reports.page.sheet import Sheet
from reports.prediction.errors import errors
from reports.prediction.predictor import Predictor
from reports.words import pairing_name

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results" / "prediction"
ALLOWED = 0.10


@pytest.fixture(scope="module")
def sheets() -> list[Sheet]:
    """Each model's measurements, taken now unless they are complete already."""
    command = Path(sys.executable).with_name("ansible-playbook")
    subprocess.run(
        [command, "playbooks/full_sweep.yml", "-e", "experiment=prediction"],
        cwd=ROOT,
        check=True,
        timeout=7000,
    )
    return Sheet.each(read(RESULTS))


@pytest.mark.timeout(7200)
def test_the_median_error_is_small(sheets: list[Sheet], findings: Findings) -> None:
    assert len(sheets) >= 3
    every: dict[str, list[float]] = {"latency": [], "throughput": []}
    for sheet in sheets:
        for cell in sheet.cells:
            predictor = sheet.predictors[cell.id]
            assert isinstance(predictor, Predictor), predictor
            found = errors(cell, predictor)
            told = []
            for measure, kept in every.items():
                off = {error.name: getattr(error, measure) for error in found.splits}
                assert len(off) == 7, "not every split and end point was measured"
                kept.extend(map(abs, off.values()))
                worst = max(off, key=lambda name: abs(off[name]))
                told.append(
                    f"{measure} {median(map(abs, off.values())):6.1%}, "
                    f"worst {off[worst]:+6.1%} at {worst:<13}"
                )
            findings.add(
                f"{sheet.model:<12} {pairing_name(cell.pairing):<10} {cell.scenario:<9} "
                + "  ".join(told)
            )
    findings.add("")
    for measure, kept in every.items():
        findings.add(
            f"{measure}: median absolute error {median(kept):.1%} over {len(kept)} points of "
            f"{len(sheets)} models (allowed {ALLOWED:.0%})"
        )
    assert all(median(kept) <= ALLOWED for kept in every.values())
