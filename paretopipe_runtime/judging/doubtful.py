"""Verdicts on candidates of which few were measured, and the round to measure next.

An asymmetric rule, as a prior is only as good as the predictions: off without a run only if very
improbable, on only after two runs, and what contradicts its prediction is measured again.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from paretopipe_runtime.judging import gain
from paretopipe_runtime.judging.membership import (
    ON_FROM,
    Aim,
    Decision,
    Verdict,
    placed,
    shares,
    verdict_at,
)
from paretopipe_runtime.judging.model import Cuts, Floats, Places, Run
from paretopipe_runtime.judging.posterior import Posterior, Seen, posterior
from paretopipe_runtime.judging.prior import Predicted, Prior

DRAWS = 2500
#: Probability to be on the front up to which a candidate is off without a run: before runs have
#: borne the predictions out, and after so many splits' have.
UNSEEN, TRUSTED, PROOF = 0.02, 0.07, 8
#: Share of splits whose runs contradict that takes all trust away.
_DISTRUST = 0.1
#: What a run is expected to scatter by where the hosts' own scatter is not known; and the range of
#: what is believed of that, as a run is the median of many batches, of one moment.
CV, LEAST_CV, MOST_CV = 0.02, 0.005, 0.25
#: Deviations from everything else beyond which a candidate's only run is measured again.
CONTRARY = 3.0
#: Runs of one round.
ROUND = 4
# What a candidate that the rule leaves open gains by any run, as verdicts.
_DUE = 0.05
# Candidates whose results are foretold: of hundreds, most are out of the question.
_MOST = 64
# Doubt that a run must take away on average, else no more is measured.
_WORTH = 0.002


@dataclass(frozen=True)
class Standing:
    """Belief about all candidates after the runs so far.

    ``drawn``: logarithms of latency and throughput, [2, candidate, draw]. ``predicted``: off the
    front without a run. ``contrary``: a run was far from what all others foretell.
    ``early``: too few runs for any verdict but undecided.
    """

    splits: tuple[Cuts, ...]
    runs: Mapping[Cuts, int]
    believed: Posterior
    drawn: Floats
    decision: Decision
    contrary: tuple[Cuts, ...]
    early: frozenset[Cuts]
    on: NDArray[np.bool_] = field(repr=False)  # the front of each draw

    @property
    def predicted(self) -> frozenset[Cuts]:
        verdict = self.decision.verdict
        return frozenset(c for c in self.splits if verdict[c] == "off" and not self.runs[c])

    @property
    def doubtful(self) -> list[int]:
        """Places of the undecided."""
        return [at for at, c in enumerate(self.splits) if self.decision.verdict[c] == "undecided"]

    @property
    def counts(self) -> list[int]:
        return [self.runs[cuts] for cuts in self.splits]


class Member(NamedTuple):
    """A candidate's place, and why it is measured."""

    place: int
    why: str


class Spending(NamedTuple):
    """Runs, the audits among them, and seconds: what is spent, or what may be at most.

    The latter may be infinite seconds, the former never.
    """

    runs: int
    audits: int
    seconds: float


def standing(
    candidates: Sequence[Predicted],
    runs: Mapping[Cuts, Sequence[Run]],
    delta: float,
    cv: float,
    seed: int = 0,
    draws: int = DRAWS,
    aside: Collection[Cuts] = (),
) -> Standing:
    """Return what runs say of candidates; those of others are left out.

    Parameters
    ----------
    delta : float
        Ratio - 1 within which figures count as equal.
    cv : float
        What a run is expected to scatter by.
    aside : collection of cuts
        Candidates that are off the front whatever their times, and put no other off it.
    """
    prior = Prior.of(candidates)
    seen = [
        Seen(place, run.round, run.logs)
        for place, cuts in enumerate(prior.splits)
        for run in runs.get(cuts, ())
    ]
    believed = posterior(prior, seen, cv)
    drawn = believed.draws(np.random.default_rng([seed, len(seen)]), draws)
    judged, out = drawn.copy(), [at for at, cuts in enumerate(prior.splits) if cuts in aside]
    judged[0, out], judged[1, out] = math.inf, -math.inf
    found, on = shares(judged, (Aim(True, delta), Aim(False, delta)))
    found.dominated[out] = 0.0  # by no other
    count = {cuts: len(runs.get(cuts, ())) for cuts in prior.splits}
    far = {
        prior.splits[run.place]
        for run, z in zip(seen, believed.surprise, strict=True)
        if z > CONTRARY**2
    }
    contrary = tuple(cuts for cuts in prior.splits if cuts in far)
    unseen = _unseen(sum(map(bool, count.values())), len(far))
    sure = dict(zip(prior.splits, map(float, found.on), strict=True))
    early = frozenset(
        c for c, p in sure.items() if c not in aside and _early(p, count[c], c in far, unseen)
    )
    said: list[Verdict] = ["undecided" if c in early else verdict_at(p) for c, p in sure.items()]
    decision = placed(prior.splits, found, said)
    return Standing(prior.splits, count, believed, drawn, decision, contrary, early, on)


def expected_cv(scatter: float) -> float:
    """Return what a run is expected to scatter by, from the hosts' own scatter; 0 if unknown."""
    return min(max(scatter, LEAST_CV), MOST_CV) if scatter else CV


def _unseen(splits: int, contrary: int) -> float:
    """Return the limit of the probability; all is measured where predictions prove wrong."""
    trust = min(1.0, splits / PROOF) if contrary <= _DISTRUST * splits else 0.0
    return UNSEEN + trust * (TRUSTED - UNSEEN)


def _early(sure: float, runs: int, contrary: bool, unseen: float) -> bool:
    if not runs:
        return sure > unseen
    return runs == 1 and (sure >= ON_FROM or contrary)


def further(
    now: Standing, cost_s: Sequence[float], spent: Spending, most: Spending, seed: int
) -> list[Member]:
    """Return the next round's members as far as there are runs and seconds for them.

    Parameters
    ----------
    cost_s : sequence of float
        As of `next_round`.
    """
    left_s = most.seconds - spent.seconds
    if spent.runs >= most.runs or left_s <= 0:
        return []
    settled = not any(np.isfinite(cost_s[at]) for at in now.doubtful)
    due = audits_due(most.audits, spent.audits, spent.runs / most.runs, settled)
    in_time = [s if s <= left_s else math.inf for s in cost_s]
    found = next_round(now, in_time, most.runs - spent.runs, due, seed)
    while sum(cost_s[member.place] for member in found) > left_s:
        found.pop()
    return found


def audits_due(audits: int, done: int, share: float, settled: bool) -> int:
    """Return how many of all audits are due at a share of the budget: all where all is settled."""
    return max(0, (audits if settled else math.ceil(audits * share)) - done)


def next_round(
    now: Standing, cost_s: Sequence[float], room: int, audits: int, seed: int
) -> list[Member]:
    """Return the next round's members in no order; none where more runs would not tell.

    Parameters
    ----------
    cost_s : sequence of float
        Seconds of a run, by candidate; infinite for one that cannot be measured.
    room : int
        Runs that are left.
    audits : int
        How many of them go to random candidates that are off by prediction alone.
    """
    rng = np.random.default_rng([seed, sum(now.counts)])
    counts, size = now.counts, min(ROUND, room)
    hidden = [now.splits.index(cuts) for cuts in now.predicted]
    able = [at for at in sorted(hidden) if np.isfinite(cost_s[at])]
    checked = [int(at) for at in rng.permutation(able)[: min(audits, size)]]
    found = [Member(at, "audit") for at in checked]
    if now.doubtful and len(found) < size:
        left = [math.inf if at in checked else s for at, s in enumerate(cost_s)]
        found += _doubtful(now, left, size - len(found), rng)
    if found and any(counts) and not any(counts[member.place] for member in found):
        common = Member(int(np.argmax(counts)), "common")  # all are audits
        found = [*found[: size - 1], common] if size > 1 else found
    return found


def _doubtful(
    now: Standing, cost_s: Sequence[float], size: int, rng: np.random.Generator
) -> list[Member]:
    noise = now.believed.noise * (1 + now.believed.widths.round**2 / ROUND)
    due = np.array([_DUE * (cuts in now.early) for cuts in now.splits])
    places = _worth_a_look(now, due, np.isfinite(cost_s))
    if not len(places):
        return []
    ahead = gain.Foresight.of(now.drawn, now.on, noise, places, rng)
    cost = np.array(cost_s)[places]
    cost, due = cost / np.median(cost), due[places]
    measured = np.array(now.counts)[places] > 0
    left, known = gain.doubt(now.drawn, now.on), 0.0
    found: list[Member] = []
    for place in range(size):
        foretold = ahead.doubt(known)
        score = (left - foretold + due) / cost
        taken = np.isin(places, [member.place for member in found])
        if place == size - 1 and measured.any() and not measured[taken].any():
            taken = ~measured  # rounds need a split in common to be told from splits
        score[taken] = -np.inf
        at = int(score.argmax())
        if not np.isfinite(score[at]) or not (due[at] or left - foretold[at] > _WORTH):
            break
        found.append(Member(int(places[at]), "doubt"))
        known, left = known + ahead.odds[at], float(foretold[at])
    return found


def _worth_a_look(now: Standing, due: Floats, able: NDArray[np.bool_]) -> Places:
    """Return the places of the most doubtful candidates that can be measured."""
    sure = np.array([now.decision.membership[cuts] for cuts in now.splits])
    doubt = np.where(able, np.minimum(sure, 1 - sure) + due, -1.0)
    most = np.argsort(-doubt, kind="stable")[:_MOST]
    return np.asarray(np.sort(most[able[most]]))
