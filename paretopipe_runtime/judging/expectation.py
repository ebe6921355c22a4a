"""Likely outcome of a doubtful sweep: of sweeps made up from what is believed before it.

Each draws a truth from that, and runs that scatter as runs are expected to; it chooses its rounds
and ends as the real one does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from paretopipe_runtime.judging.doubtful import Spending, Standing, further, standing
from paretopipe_runtime.judging.model import Cuts, Floats, Run
from paretopipe_runtime.judging.prior import Predicted

SWEEPS = 8
#: Processor seconds for all of them.
LIMIT_S = 5.0
# Fewer than a verdict rests on: several times as quick, and it is a mean.
_DRAWS = 400


@dataclass(frozen=True)
class Expected:
    """Means over so many made-up `sweeps`, of so many `splits`; `runs` with what was run before.

    `wrong`: verdicts to expect that are. Nothing is known if no sweep was done in time.
    """

    runs: float
    undecided: float
    wrong: float
    splits: int
    sweeps: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        undecided, wrong = (
            f"{each:.0f}" if each >= 1 else f"{each:.1g}" for each in (self.undecided, self.wrong)
        )
        return (
            f"expected after about {self.runs:.0f} runs: {undecided} of {self.splits} splits "
            f"undecided, {wrong} wrong"
        )


def expect(
    now: Standing,
    candidates: Sequence[Predicted],
    runs: Mapping[Cuts, Sequence[Run]],
    delta: float,
    cv: float,
    cost_s: Sequence[float],
    spent: Spending,
    most: Spending,
    seed: int,
) -> Expected:
    """Make up sweeps that go on from `now`; see `standing` and `further`."""
    rng = np.random.default_rng([seed, len(candidates)])
    until = time.process_time() + LIMIT_S
    found: list[tuple[float, float, float]] = []
    first = further(now, cost_s, spent, most, seed)
    for at in rng.choice(now.drawn.shape[2], SWEEPS, replace=False):
        known = {cuts: [*own] for cuts, own in runs.items()}
        then, so_far, members = now, spent, first
        while members:
            places = [member.place for member in members]
            _measure(now, now.drawn[:, :, at], places, known, rng)
            audits = sum(member.why == "audit" for member in members)
            so_far = Spending(
                so_far.runs + len(places),
                so_far.audits + audits,
                so_far.seconds + sum(cost_s[place] for place in places),
            )
            then = standing(candidates, known, delta, cv, seed, _DRAWS)
            if time.process_time() > until:
                return _mean(found, len(candidates))
            members = further(then, cost_s, so_far, most, seed)
        sure = [then.decision.membership[cuts] for cuts in then.splits]
        wrong = np.minimum(sure, np.subtract(1, sure))
        wrong[then.doubtful] = 0.0
        found.append((so_far.runs, len(then.doubtful), float(wrong.sum())))
    return _mean(found, len(candidates))


def _measure(
    now: Standing,
    truth: Floats,
    places: Sequence[int],
    known: dict[Cuts, list[Run]],
    rng: np.random.Generator,
) -> None:
    """Add a round's runs to those `known`."""
    number = 1 + max((run.round for own in known.values() for run in own), default=0)
    half = np.linalg.cholesky(now.believed.noise)
    shift = now.believed.widths.round * half @ rng.standard_normal(2)
    for place in places:
        logs = truth[:, place] + shift + half @ rng.standard_normal(2)
        known.setdefault(now.splits[place], []).append(Run(number, tuple(map(float, logs))))


def _mean(found: Sequence[tuple[float, float, float]], splits: int) -> Expected:
    if not found:
        return Expected(0.0, 0.0, 0.0, splits, 0)
    runs, undecided, wrong = (round(float(each), 3) for each in np.mean(found, axis=0))
    return Expected(runs, undecided, wrong, splits, len(found))
