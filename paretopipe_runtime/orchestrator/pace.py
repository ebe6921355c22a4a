"""The error of time estimates, kept beside them to correct later ones."""

from __future__ import annotations

import contextlib
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from paretopipe_runtime.files import offer_json

#: Log standard deviations: of an unchecked estimate, between cells, of one run (the first ones
#: are slow), and between a cell's remaining and measured runs.
UNCHECKED, CELLS, RUNS, STEADY = 0.20, 0.12, 0.30, 0.05
_ONE_IN = 10  # prior: one round in so many is repeated


@dataclass(frozen=True)
class Learned:
    """A measured cell: real over estimated time, and how many of its rounds drifted (`again`)."""

    ratio: float
    runs: int
    blocks: int = 0  # rounds, as files call them
    again: int = 0

    def save(self, state_dir: Path, cell_id: str) -> None:
        offer_json(_path(state_dir, cell_id, ".pace"), asdict(self))


def learned(state_dir: Path, cell_ids: Iterable[str]) -> dict[str, Learned]:
    found = {}
    for cell_id in cell_ids:
        with contextlib.suppress(OSError, TypeError, ValueError):
            one = Learned(**json.loads(_path(state_dir, cell_id, ".pace").read_text()))
            if one.ratio > 0:
                found[cell_id] = one
    return found


@dataclass(frozen=True)
class Pace:
    """Expected real over estimated time, its log deviation, and the share of rounds to repeat."""

    ratio: float = 1.0
    spread: float = UNCHECKED
    again: float = 1 / _ONE_IN

    @classmethod
    def of(cls, cells: Sequence[Learned], own: Learned | None = None, scatter: float = 0.0) -> Pace:
        """Combine the pace of other cells with the cell's own, weighted by inverse variance.

        `scatter` is the hosts' own: a probe takes about a second, and errs by as much.
        """
        rounds, again = (sum(getattr(cell, key) for cell in cells) for key in ("blocks", "again"))
        guesses = [(0.0, math.hypot(UNCHECKED, scatter))]
        if known := [math.log(cell.ratio) for cell in cells if cell.runs]:
            between = math.hypot(CELLS, scatter) * math.sqrt(1 + 1 / len(known))
            guesses = [(statistics.median(known), between)]
        if own and own.runs:
            runs = math.hypot(RUNS, scatter) / math.sqrt(own.runs)
            guesses.append((math.log(own.ratio), math.hypot(STEADY, runs)))
            rounds, again = rounds + own.blocks, again + own.again
        weights = [spread**-2 for _, spread in guesses]
        ratio = math.exp(statistics.fmean((guess for guess, _ in guesses), weights))
        return cls(ratio, sum(weights) ** -0.5, (again + 1) / (rounds + _ONE_IN))

    def foresee(self, estimate_s: float, rounds: int) -> tuple[float, float]:
        """Return the expected seconds and their standard deviation, repeats included."""
        once_s = self.ratio * estimate_s
        if not rounds:
            return once_s, self.spread * once_s
        repeats_s = math.sqrt(self.again * (1 - self.again) / rounds) * once_s
        return once_s * (1 + self.again), math.hypot(self.spread * once_s, repeats_s)


def save_estimate(state_dir: Path, cell_id: str, split_s: dict[str, float]) -> None:
    offer_json(_path(state_dir, cell_id), split_s)


def load_estimate(state_dir: Path, cell_id: str) -> dict[str, float]:
    try:
        return dict(json.loads(_path(state_dir, cell_id).read_text()))
    except (OSError, ValueError):
        return {}


def _path(state_dir: Path, cell_id: str, what: str = "") -> Path:
    return state_dir / "estimates" / f"{cell_id}{what}.json"
