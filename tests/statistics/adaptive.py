"""Sweeps that measure only what is in doubt, over a known truth or over recorded runs."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import ceil

import numpy as np

from paretopipe_runtime.contract.candidates import Candidate
from paretopipe_runtime.contract.plan import FEWEST
from paretopipe_runtime.judging.doubtful import (
    CV,
    Member,
    Spending,
    Standing,
    further,
    standing,
)
from paretopipe_runtime.judging.membership import Aim, decide, verdict_at
from paretopipe_runtime.judging.model import Cuts, Floats, Run, fit
from paretopipe_runtime.prediction.candidates import near_front
from reports.statistics.decision import Decision, decided
from tests.made import figures, predicted, worlds

DELTA, AUDIT, REPEATS = 0.02, 0.1, 5
DOUBTFUL = "doubtful"
#: A run of the candidate at a place, in a round: logarithms of latency and throughput.
Answer = Callable[[int, int], Sequence[float]]


def rounds(
    candidates: Sequence[Candidate], answer: Answer, most: int, seed: int, cv: float = CV
) -> Iterator[tuple[Standing, list[Member]]]:
    """Yield what is believed before each round, and its members: none in the last.

    As `orchestrator.doubtful` measures, but that no run fails.
    """
    runs: dict[Cuts, list[Run]] = {one.cuts: [] for one in candidates}
    cost_s = [one.run_s for one in candidates]
    limit, audits = Spending(most, round(AUDIT * most), math.inf), 0
    for number in count(1):
        now = standing(candidates, runs, DELTA, cv, seed)
        members = further(now, cost_s, Spending(sum(now.counts), audits, 0.0), limit, seed)
        yield now, members
        if not members:
            return
        audits += sum(member.why == "audit" for member in members)
        for place, _ in members:
            runs[now.splits[place]].append(Run(number, tuple(answer(place, number))))


def last(
    candidates: Sequence[Candidate], answer: Answer, budget: float, seed: int, cv: float = CV
) -> Standing:
    """Return where a sweep within a budget, a share of the exhaustive runs, ends."""
    most = cap(len(candidates), budget)
    ((now, _),) = deque(rounds(candidates, answer, most, seed, cv), maxlen=1)
    return now


def cap(splits: int, budget: float) -> int:
    """Return the most runs of a budget, as `contract.plan.cap`."""
    return max(FEWEST, ceil(budget * REPEATS * splits - 1e-9))


@dataclass(frozen=True)
class Said:
    """What a sweep says: verdicts by split; of latency, throughput and both: the pick."""

    verdict: Mapping[Cuts, str]
    picks: tuple[Cuts, ...]
    share: float  # of the exhaustive runs

    @classmethod
    def of(cls, now: Standing) -> Said:
        choices = decided(replace(figures.cell(), standing=now), DELTA)
        share = sum(now.counts) / (REPEATS * len(now.splits))
        return cls(now.decision.verdict, _picks(choices), share)

    @classmethod
    def predicted(cls, candidates: Sequence[Candidate]) -> Said:
        """Say what predictions alone do, probabilities taken at their word."""
        now = standing(candidates, {}, DELTA, CV)
        sure = now.decision.membership
        return replace(cls.of(now), verdict={cuts: verdict_at(sure[cuts]) for cuts in now.splits})

    @classmethod
    def exhaustive(cls, logs: Floats) -> Said:
        """Say what runs of all splits do: [split, round, variable]."""
        found = {
            (at,): [Run(number, tuple(run)) for number, run in enumerate(own, start=1)]
            for at, own in enumerate(logs, start=1)
        }
        decision = decide(fit(found), (Aim(True, DELTA), Aim(False, DELTA)))
        return cls(decision.verdict, _picks(decided(worlds.cell(logs), DELTA)), 1.0)


@dataclass(frozen=True)
class Score:
    """Of a sweep: wrong, undecided and contradictory verdicts per 20 splits; the picks' losses."""

    share: float
    wrong: float
    undecided: float
    contrary: float  # on where measuring all says off, or the reverse
    losses: tuple[float, ...]  # beyond the best split's, by goal

    @classmethod
    def of(cls, said: Said, other: Mapping[Cuts, str], truth: Floats, on: Sequence[bool]) -> Score:
        """Score against logarithms [split, variable] held to be true, and another's verdicts."""
        verdict = [*said.verdict.values()]
        real = ["on" if one else "off" for one in on]
        each = 20 / len(verdict)
        against = {("on", "off"), ("off", "on")}
        lost = losses(truth)
        places = [[*said.verdict].index(pick) for pick in said.picks]
        return cls(
            said.share,
            each * sum(pair in against for pair in zip(verdict, real, strict=True)),
            each * verdict.count("undecided"),
            each * sum((said.verdict[cuts], other[cuts]) in against for cuts in said.verdict),
            tuple(float(row[at]) for row, at in zip(lost, places, strict=True)),
        )


def losses(true: Floats) -> Floats:
    """Return what each split loses by goal, beyond the best one's: latency, throughput, both."""
    behind = np.expm1([true[:, 0] - true[:, 0].min(), true[:, 1].max() - true[:, 1]])
    both = behind.max(axis=0)
    return np.array([*behind, both - both.min()])


@dataclass(frozen=True)
class Task:
    """One planted sweep, the same again wherever it runs."""

    world: str
    model: str
    cv: float
    budget: float
    number: int


def scored(task: Task) -> tuple[Floats, dict[str, Score]]:
    """Return the median errors of a task's predictions, and by method what became of it."""
    table = predicted.tables()[task.model]
    seeds = [task.number, round(1000 * task.cv), *task.model.encode(), *task.world.encode()]
    rng = np.random.default_rng(seeds)
    found = predicted.planted(rng, table, predicted.WORLDS[task.world])
    on = worlds.members(found.true, DELTA)
    complete = Said.exhaustive(worlds.runs(rng, found.true, task.cv, REPEATS))
    logs = worlds.runs(rng, found.true, task.cv, cap(len(table), task.budget))
    now = last(
        found.candidates, lambda place, number: logs[place, number - 1], task.budget, task.number
    )
    said = {
        "exhaustive": complete,
        "prediction alone": Said.predicted(found.candidates),
        DOUBTFUL: Said.of(now),
    }
    return found.off, {
        method: Score.of(one, complete.verdict, found.true, on) for method, one in said.items()
    }


@dataclass(frozen=True)
class Chained:
    """What a sweep of a chain finds, beyond the true best: ratios - 1.

    `latency` and `throughput`: of the picks; `front`: of what it calls on the front and its picks,
    the largest loss at both goals beside any split of the true front. `alone`: the picks' losses
    without a run.
    """

    splits: int
    candidates: int
    runs: int
    latency: float
    throughput: float
    front: float
    alone: tuple[float, float]


def chained(task: Task, hosts: Sequence[str], most: int) -> Chained:
    """Plant equal hosts in a row, and sweep them with `most` runs."""
    table = predicted.tables()[task.model]
    rng = np.random.default_rng([task.number, len(hosts), *task.model.encode()])
    whole = predicted.planted_chain(rng, table, hosts, predicted.WORLDS[task.world])
    near = near_front(whole.candidates)
    known, true = [whole.candidates[at] for at in near], whole.true[near]
    logs = worlds.runs(rng, true, task.cv, most)
    every = rounds(known, lambda place, number: logs[place, number - 1], most, task.number)
    ((now, _),) = deque(every, maxlen=1)
    said, alone = Said.of(now), Said.predicted(known)
    places = {one.cuts: at for at, one in zip(near, known, strict=True)}
    lost = losses(whole.true)
    latency, throughput, *_ = (lost[goal, places[c]] for goal, c in enumerate(said.picks))
    blind = tuple(float(lost[goal, places[c]]) for goal, c in enumerate(alone.picks[:2]))
    on = {cuts for cuts, verdict in said.verdict.items() if verdict == "on"}
    found = whole.true[[places[cuts] for cuts in on.union(said.picks)]]
    best = whole.true[worlds.members(whole.true, 0.0)]
    behind = np.maximum(
        found[None, :, 0] - best[:, None, 0], best[:, None, 1] - found[None, :, 1]
    ).min(axis=1)
    return Chained(
        len(whole.true),
        len(known),
        sum(now.counts),
        float(latency),
        float(throughput),
        float(np.expm1(behind.max())),
        (blind[0], blind[1]),
    )


def _picks(choices: Decision | None) -> tuple[Cuts, ...]:
    assert choices is not None
    return (*(one.pick for one in choices.goals.values()), choices.both.pick)
