"""How far off estimates of time have been, and so what the rest of a sweep will take.

What a cell learned while it was measured is kept beside its estimate, for the cells after it and
for the same sweep resumed.
"""

from __future__ import annotations

import contextlib
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from paretopipe_runtime.files import offer_json

#: Standard deviations of logarithms: of an estimate that nothing has checked, of one cell against
#: another, of one run (the first ones are slow), and of what a cell has yet to do against what it
#: did.
UNCHECKED, CELLS, RUNS, STEADY = 0.20, 0.12, 0.30, 0.05
_ONE_IN = 10  # rounds that are measured again, before any has been judged


@dataclass(frozen=True)
class Learned:
    """What a cell showed: runs took `ratio` of their estimate, `again` of its rounds drifted."""

    ratio: float
    runs: int
    blocks: int = 0  # rounds, by the name that files have
    again: int = 0

    def save(self, state_dir: Path, cell_id: str) -> None:
        """Keep it."""
        offer_json(_path(state_dir, cell_id, ".pace"), asdict(self))


def learned(state_dir: Path, cell_ids: Iterable[str]) -> dict[str, Learned]:
    """Return what those of the cells showed that have been measured, by their names."""
    found = {}
    for cell_id in cell_ids:
        with contextlib.suppress(OSError, TypeError, ValueError):
            one = Learned(**json.loads(_path(state_dir, cell_id, ".pace").read_text()))
            if one.ratio > 0:
                found[cell_id] = one
    return found


@dataclass(frozen=True)
class Pace:
    """What to expect: runs take `ratio` of their estimate, give or take the log-deviation `spread`.

    A round is measured again with the probability `again`.
    """

    ratio: float = 1.0
    spread: float = UNCHECKED
    again: float = 1 / _ONE_IN

    @classmethod
    def of(cls, cells: Sequence[Learned], own: Learned | None = None) -> Pace:
        """Return what other cells, and the one itself as far as it is, let expect of it."""
        rounds, again = (sum(getattr(cell, key) for cell in cells) for key in ("blocks", "again"))
        guesses = [(0.0, UNCHECKED)]
        if known := [math.log(cell.ratio) for cell in cells if cell.runs]:
            guesses = [(statistics.median(known), CELLS * math.sqrt(1 + 1 / len(known)))]
        if own and own.runs:
            guesses.append((math.log(own.ratio), math.hypot(STEADY, RUNS / math.sqrt(own.runs))))
            rounds, again = rounds + own.blocks, again + own.again
        weights = [spread**-2 for _, spread in guesses]
        ratio = math.exp(statistics.fmean((guess for guess, _ in guesses), weights))
        return cls(ratio, sum(weights) ** -0.5, (again + 1) / (rounds + _ONE_IN))

    def foresee(self, estimate_s: float, rounds: int) -> tuple[float, float]:
        """Return what takes that long by estimate, and its standard deviation.

        With so many `rounds` in it, each of which may have to be measured again.
        """
        once_s = self.ratio * estimate_s
        if not rounds:
            return once_s, self.spread * once_s
        repeats_s = math.sqrt(self.again * (1 - self.again) / rounds) * once_s
        return once_s * (1 + self.again), math.hypot(self.spread * once_s, repeats_s)


def save_estimate(state_dir: Path, cell_id: str, split_s: dict[str, float]) -> None:
    """Keep a cell's estimate, seconds by split name, for the sweep's progress line."""
    offer_json(_path(state_dir, cell_id), split_s)


def load_estimate(state_dir: Path, cell_id: str) -> dict[str, float]:
    """Return seconds by split name; empty where nothing was estimated."""
    try:
        return dict(json.loads(_path(state_dir, cell_id).read_text()))
    except (OSError, ValueError):
        return {}


def _path(state_dir: Path, cell_id: str, what: str = "") -> Path:
    return state_dir / "estimates" / f"{cell_id}{what}.json"
