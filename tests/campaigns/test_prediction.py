"""Predictions from profiles beside what was measured: at most 10 % off in the median of a model.

Needs the virtual testbed for itself. Three models, five splits and both end points, two pairings,
the bare network and 20 ms / 50 Mbit/s; profiles come from separate runs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from paretopipe_runtime.prediction.predictor import Predictor
from reports.data.cells import Cell
from reports.data.records import read
from reports.objectives import LATENCY, THROUGHPUT
from reports.page.sheet import Sheet
from reports.prediction.errors import errors
from reports.words import pairing_name
from tests.campaigns.conftest import Findings

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results" / "prediction"
ALLOWED = 0.10
MEASURES = ("latency", "throughput")


@pytest.fixture(scope="module")
def sheets() -> list[Sheet]:
    """Return each model's measurements, taken unless complete."""
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
    medians = []
    for sheet in sheets:
        off = [_told(sheet, cell, findings) for cell in sheet.cells]
        for place, measure in enumerate(MEASURES):
            kept = [abs(error[place]) for cell in off for error in cell]
            medians.append(median(kept))
            findings.add(
                f"{sheet.model:<12} {measure:<10} median absolute error {medians[-1]:.1%} over "
                f"{len(kept)} points (allowed {ALLOWED:.0%})"
            )
        findings.add("")
    assert max(medians) <= ALLOWED


def _told(sheet: Sheet, cell: Cell, findings: Findings) -> list[tuple[float, float]]:
    """Add a cell's table; return errors of its splits and end points."""
    predictor = sheet.predictors[cell.id]
    assert isinstance(predictor, Predictor), predictor
    found = errors(cell, predictor)
    assert len(found.splits) == 7, "not every split and end point was measured"
    measured = {split.cuts: split for split in (*cell.splits, *cell.end_points)}
    findings.add(
        f"{sheet.model}, {pairing_name(cell.pairing)}, {cell.scenario} "
        f"({found.network.rtt_ms:.1f} ms, {found.network.rate_mbit or 0:.0f} Mbit/s): "
        "predicted beside measured"
    )
    for error in found.splits:
        split = measured[error.cuts]
        findings.add(
            f"  {error.name:<14} {error.predicted.latency_s:6.3f} {split.median(LATENCY):6.3f} s "
            f"{error.latency:+6.1%}   {error.predicted.throughput_img_s:6.2f} "
            f"{split.median(THROUGHPUT):6.2f} images/s {error.throughput:+6.1%}"
        )
    return [(error.latency, error.throughput) for error in found.splits]
