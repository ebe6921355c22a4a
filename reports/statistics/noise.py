"""Noise, before anything is compared: how far the same work differs when timed again.

Two sources: each host's own scatter before the sweep, and the sentinels, which time one split twice
in a round. The larger rules. Both are log standard deviations of one timing, s: two timings differ
by 0.95 s in the median, and means of n runs by 1.96 s √(2/n) or less in 95 % of cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import expm1, log1p, sqrt
from statistics import NormalDist, median

from paretopipe_runtime.contract.lines import Record
from paretopipe_runtime.contract.values import clean
from paretopipe_runtime.judging.doubtful import expected_cv
from reports.data.cells import Cell
from reports.words import count, percent

_MEDIAN = NormalDist().inv_cdf(0.75) * sqrt(2)
_SURE = NormalDist().inv_cdf(0.975) * sqrt(2)
_FEWEST = 3  # rounds with both sentinels


@dataclass(frozen=True)
class Noise:
    """Log standard deviation of one timing: of `host`, or of a split where that is empty."""

    scatter: float
    host: str
    runs: int  # of a split, in the median

    @property
    def differs(self) -> float:
        """The median difference of two timings, as a ratio - 1."""
        return expm1(_MEDIAN * self.scatter)

    @property
    def nothing(self) -> float:
        """The difference of two splits that chance alone passes in 5 % of cases, as a ratio - 1."""
        return expm1(_SURE * self.scatter / sqrt(self.runs))


def noise_of(cells: Iterable[Cell], noises: Iterable[Record]) -> Noise | None:
    """Return the larger of hosts' and sentinels' scatter; None where neither is known."""
    cells = [cell for cell in cells if cell.measured]
    runs = [split.runs for cell in cells for split in cell.measured]
    known = _of_hosts(cells, noises)
    shifts = [drift.shifts for cell in cells for drift in cell.drifts if drift.shifts]
    if len(shifts) >= _FEWEST:
        of_each = (median(abs(log1p(shift)) for shift in one) for one in zip(*shifts, strict=True))
        known.append((max(of_each) / _MEDIAN, ""))
    if not known:
        return None
    return Noise(*max(known), runs=round(median(runs)))


def expected(cell: Cell, noises: Iterable[Record]) -> float:
    """Return what a cell's runs are expected to scatter by, before there are any."""
    known = _of_hosts([cell], noises)
    return expected_cv(max(known)[0] if known else 0.0)


def _of_hosts(cells: Sequence[Cell], noises: Iterable[Record]) -> list[tuple[float, str]]:
    latest = {record["cell_id"]: record["hosts"] for record in noises}
    return [
        (float(figures["scatter"]), host)
        for cell in cells
        for host, figures in latest.get(cell.id, {}).items()
    ]


def sentence(cells: Sequence[Cell], noises: Iterable[Record]) -> str:
    """Return what the noise is and which differences it hides, or that it was not measured."""
    noise = noise_of(cells, noises)
    if noise is None:
        return "How far the same work differs when it is timed again was not measured."
    again = "The same split measured twice"
    if noise.host:
        again = f"The same work timed again on {clean(noise.host)}"
    if any(cell.standing for cell in cells):  # no two splits have as many runs
        return f"{again} differed by {percent(noise.differs)}."
    return (
        f"{again} differed by {percent(noise.differs)}: with {count(noise.runs, 'run')} of each "
        f"split, differences below about {percent(noise.nothing)} mean nothing here."
    )
