"""Recorded sweeps of every split, replayed as if only what is in doubt had been measured.

``RECORDS=FOLDER pytest tests/campaigns/test_replays.py -s``; the folder has an exhaustive sweep and
its profiles. A run that the strategy asks for is one of the split's recorded runs, drawn by chance.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from paretopipe_runtime.contract.candidates import Candidate
from paretopipe_runtime.contract.plan import read_plan
from paretopipe_runtime.judging.membership import Aim, decide
from paretopipe_runtime.judging.model import Cuts, Floats, Run, fit
from paretopipe_runtime.prediction import sources
from paretopipe_runtime.prediction.candidates import candidates
from reports.data.cells import Cell
from reports.data.records import read
from reports.objectives import LATENCY, THROUGHPUT
from reports.page.sheet import Sheet
from reports.statistics.judge import runs_of
from reports.statistics.noise import expected
from tests.campaigns.conftest import Findings
from tests.statistics.adaptive import DELTA, Said, Score, last

FOLDER = os.environ.get("RECORDS", "")
REPLAYS = 200
BUDGETS = (0.20, 0.35)

pytestmark = pytest.mark.skipif(
    not FOLDER, reason="RECORDS names no folder: that of an exhaustive sweep and its profiles"
)


@dataclass(frozen=True)
class Recorded:
    """An exhaustive sweep: what was predicted, the runs, and what all of them say."""

    candidates: tuple[Candidate, ...]
    runs: Mapping[Cuts, Sequence[Run]]
    cv: float  # expected before there were any

    @classmethod
    def of(cls, cell: Cell, folder: Path, cv: float) -> Recorded:
        known = candidates(read_plan(cell.plan), *sources.read(folder), {})
        return cls(known, runs_of(cell.measured, (LATENCY, THROUGHPUT)), cv)

    @property
    def effects(self) -> Floats:
        """Logarithms of latency and throughput, by candidate, as all runs estimate them."""
        found = fit(self.runs)
        known = dict(zip(found.splits, found.effects, strict=True))
        return np.array([known[one.cuts] for one in self.candidates])

    def replayed(self, budget: float, number: int) -> Said:
        rng, left = np.random.default_rng([number, 11]), dict[int, list[Run]]()

        def answer(place: int, _: int) -> Sequence[float]:
            if not left.get(place):
                own = self.runs[self.candidates[place].cuts]
                left[place] = [own[at] for at in rng.permutation(len(own))]
            return left[place].pop().logs

        return Said.of(last(self.candidates, answer, budget, number, self.cv))


@pytest.mark.timeout(3600)
def test_replays(findings: Findings, pool: ProcessPoolExecutor) -> None:
    records = read(Path(FOLDER))
    cells = [cell for sheet in Sheet.each(records) for cell in sheet.cells]
    for cell in cells:
        found = Recorded.of(cell, Path(FOLDER), expected(cell, records.noises))
        unmeasured = [one.cuts for one in found.candidates if not found.runs.get(one.cuts)]
        assert not unmeasured, f"{cell.id}: no run of {unmeasured}: is the sweep exhaustive?"
        _tell(findings, pool, cell.id, found)


def _tell(findings: Findings, pool: ProcessPoolExecutor, name: str, found: Recorded) -> None:
    model = fit(found.runs)
    complete, scatter = decide(model, (Aim(True, DELTA), Aim(False, DELTA))), model.deviation
    true = found.effects
    said = [(one.latency_s, one.throughput_img_s) for one in found.candidates]
    latency, throughput = np.median(np.abs(np.expm1(np.log(said) - true)), axis=0)
    on = [complete.verdict[one.cuts] == "on" for one in found.candidates]
    each = 20 / len(on)
    undecided = each * [*complete.verdict.values()].count("undecided")
    findings.add("")
    findings.add(
        f"{name}: {len(on)} splits, {sum(map(len, found.runs.values()))} runs, {sum(on)} on the "
        f"front, {undecided:.1f} of 20 undecided; a run was expected to scatter by {found.cv:.1%} "
        f"and does by {scatter[0]:.1%} in latency, {scatter[1]:.1%} in throughput; "
        f"predictions are off by {latency:.1%} in latency, {throughput:.1%} in throughput (median)"
    )
    for method, one in (
        ("prediction alone", [Said.predicted(found.candidates)]),
        *(
            (
                f"doubtful, {budget:.0%}",
                [*pool.map(partial(found.replayed, budget), range(REPLAYS))],
            )
            for budget in BUDGETS
        ),
    ):
        scores = [Score.of(own, complete.verdict, true, on) for own in one]
        lost = np.array([score.losses for score in scores])
        contrary = np.array([score.contrary for score in scores])
        picks = " / ".join(f"{share:.1%}" for share in (lost <= 0.03).mean(axis=0))
        worst = " / ".join(f"{most:.1%}" for most in lost.max(axis=0))
        findings.add(
            f"  {method:<17} {np.mean([s.share for s in scores]):6.1%} of the runs; contradicts "
            f"{contrary.mean():.3f} of 20, in {np.mean(contrary > 0):.1%} of replays; undecided "
            f"{np.mean([s.undecided for s in scores]):.1f}; picks within 3 % {picks}, the worst "
            f"{worst}"
        )
