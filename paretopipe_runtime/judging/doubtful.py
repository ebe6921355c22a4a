"""Verdicts on candidates of which few were measured, and the round to measure next.

An asymmetric rule, as a prior is only as good as the predictions: off without a run only if very
improbable, on only after two runs, and what contradicts its prediction is measured again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from paretopipe_runtime.judging import gain
from paretopipe_runtime.judging.membership import (
    OFF_TO,
    ON_FROM,
    Aim,
    Decision,
    Verdict,
    placed,
    shares,
    verdict_at,
)
from paretopipe_runtime.judging.model import Cuts, Floats, Run
from paretopipe_runtime.judging.posterior import Posterior, Seen, posterior
from paretopipe_runtime.judging.prior import Predicted, Prior

DRAWS = 2500
#: Probability to be on the front up to which a candidate is off without a run.
UNSEEN = 0.02
#: Deviations from everything else beyond which a candidate's only run is measured again.
CONTRARY = 3.0
#: Runs of one round.
ROUND = 4
# What a candidate that the rule leaves open gains by any run, as verdicts.
_DUE = 0.05
# Doubt that a run must take away on average, else no more is measured.
_WORTH = 0.002


@dataclass(frozen=True)
class Standing:
    """What is believed of all candidates after the runs so far.

    ``drawn``: logarithms of latency and throughput, [2, candidate, draw]. ``predicted``: off the
    front without a run. ``contrary``: their first run was far from what all others foretold.
    """

    splits: tuple[Cuts, ...]
    runs: Mapping[Cuts, int]
    believed: Posterior
    drawn: Floats
    decision: Decision
    contrary: tuple[Cuts, ...]
    on: NDArray[np.bool_] = field(repr=False)  # the front of each draw

    @property
    def predicted(self) -> frozenset[Cuts]:
        verdict = self.decision.verdict
        return frozenset(c for c in self.splits if verdict[c] == "off" and not self.runs[c])

    @property
    def open(self) -> list[int]:
        """Places of the undecided."""
        return [at for at, c in enumerate(self.splits) if self.decision.verdict[c] == "undecided"]

    @property
    def counts(self) -> list[int]:
        return [self.runs[cuts] for cuts in self.splits]


class Member(NamedTuple):
    """A candidate's place, and why it is measured."""

    place: int
    why: str


def standing(
    candidates: Sequence[Predicted],
    runs: Mapping[Cuts, Sequence[Run]],
    delta: float,
    cv: float,
    seed: int = 0,
) -> Standing:
    """Return what runs say of candidates; those of others are left out.

    Parameters
    ----------
    delta : float
        Ratio - 1 within which figures count as equal.
    cv : float
        What a run is expected to scatter by.
    """
    prior = Prior.of(candidates)
    seen = [
        Seen(place, run.round, run.logs)
        for place, cuts in enumerate(prior.splits)
        for run in runs.get(cuts, ())
    ]
    believed = posterior(prior, seen, cv)
    drawn = believed.draws(np.random.default_rng([seed, len(seen)]), DRAWS)
    found, on = shares(drawn, (Aim(True, delta), Aim(False, delta)))
    count = {cuts: len(runs.get(cuts, ())) for cuts in prior.splits}
    far = {prior.splits[run.place] for run, z in zip(seen, believed.surprise, strict=True) if z > CONTRARY**2}
    contrary = tuple(cuts for cuts in prior.splits if cuts in far)
    said = [
        _verdict(sure, count[cuts], cuts in far)
        for cuts, sure in zip(prior.splits, map(float, found.on), strict=True)
    ]
    return Standing(
        prior.splits, count, believed, drawn, placed(prior.splits, found, said), contrary, on
    )


def _verdict(sure: float, runs: int, contrary: bool) -> Verdict:
    early = (
        (not runs and sure > UNSEEN)
        or (runs < 2 and sure >= ON_FROM)
        or (runs == 1 and contrary)
    )
    return "undecided" if early else verdict_at(sure)


def next_round(
    now: Standing, cost_s: Sequence[float], room: int, audits: int, seed: int
) -> list[Member]:
    """Return the next round's members in no order; none where more runs would not tell.

    Parameters
    ----------
    cost_s : sequence of float
        Seconds of a run, by candidate.
    room : int
        Runs that are left.
    audits : int
        How many of them go to random candidates that are off by prediction alone.
    """
    rng = np.random.default_rng([seed, sum(now.counts)])
    counts, size = now.counts, min(ROUND, room)
    hidden = [now.splits.index(cuts) for cuts in now.predicted]
    checked = [int(at) for at in rng.permutation(sorted(hidden))[: min(audits, size)]]
    found = [Member(at, "audit") for at in checked]
    if now.open and len(found) < size:
        found = _doubtful(now, cost_s, size - len(found), rng) + found
    if found and any(counts) and not any(counts[member.place] for member in found):
        common = Member(int(np.argmax(counts)), "common")
        found = [*found[-(size - 1) :], common] if size > 1 else found
    return found


def _doubtful(
    now: Standing, cost_s: Sequence[float], size: int, rng: np.random.Generator
) -> list[Member]:
    counts = np.array(now.counts)
    noise = now.believed.noise * (1 + now.believed.widths.round**2 / ROUND)
    ahead = gain.Foresight.of(now.drawn, now.on, noise, rng)
    due = np.zeros(len(counts))
    sure = np.array([now.decision.membership[cuts] for cuts in now.splits])
    due[[at for at in now.open if not OFF_TO < sure[at] < ON_FROM]] = _DUE
    cost = np.array(cost_s) / np.median(cost_s)
    left, known = gain.doubt(now.drawn, now.on), 0.0
    found: list[Member] = []
    for _ in range(size):
        foretold = ahead.doubt(known)
        score = (left - foretold + due) / cost
        score[[member.place for member in found]] = -np.inf
        at = int(score.argmax())
        if not np.isfinite(score[at]):
            break
        found.append(Member(at, "doubt"))
        known, left = known + ahead.odds[at], float(foretold[at])
    return found
