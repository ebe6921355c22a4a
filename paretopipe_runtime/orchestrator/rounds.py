"""Rounds: which of a cell's runs come next, and whether a round has to be measured again.

A round is all runs of one repeat: the sentinel that opens it, its splits and end points in random
order, the sentinel that closes it. What the two sentinels differ by, beyond what any two runs of
one split do, is drift of the hosts or the link. A profile's rounds have no sentinels. What records
call a ``block_pass`` is the pass of a round.

Everything here is a function of the records, so a sweep that stops anywhere goes on from there.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paretopipe_runtime.orchestrator.runs import Run

#: Robust standard deviations of the difference between two runs of one split; beyond them is drift.
DEVIATIONS = 3.0
_NORMAL = 1.4826  # a normal distribution's standard deviation over its median absolute one
_FEWEST = 5  # differences that a scatter is taken from


@dataclass(frozen=True)
class Round:
    """All runs of one repeat; `opening` and `closing` are None where there is no sentinel."""

    number: int
    members: tuple[Run, ...]
    opening: Run | None = None
    closing: Run | None = None

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run in the order to measure them."""
        return tuple(run for run in (self.opening, *self.members, self.closing) if run)


@dataclass(frozen=True)
class Shift:
    """What the sentinel lost or gained from its opening to its closing: close / open - 1."""

    latency: float
    throughput: float

    @property
    def largest(self) -> float:
        """The larger of the two, without its sign."""
        return max(abs(self.latency), abs(self.throughput))

    def beyond(self, limit: Shift) -> bool:
        """Tell whether either is past its limit: half as much is as far as twice as much."""
        return _far(self.latency, limit.latency) or _far(self.throughput, limit.throughput)


@dataclass(frozen=True)
class Drift:
    """A verdict on a cell's first passes: which rounds moved `beyond` the `limit`, by number.

    The limit of either measure is what two runs of one split differ by in this cell, three robust
    standard deviations of it, and `floor` at least. That is a matter of size alone: no run's being
    fast or slow changes what is repeated. The scatter is that of the first `repeats` rounds, which
    hold every split: what a cell is asked for later leaves the verdict on them as it was.
    """

    limit: Shift
    beyond: tuple[int, ...]

    @classmethod
    def of(cls, rounds: Iterable[Round], log: Log, floor: float, repeats: int) -> Drift:
        """Judge the rounds that have both sentinels; with a floor of 0 none is ever beyond."""
        rounds = list(rounds)
        whole = [round_ for round_ in rounds if round_.number <= repeats]
        limit = Shift(*(max(floor, math.expm1(DEVIATIONS * s)) for s in _scatter(whole, log)))
        shifts = [(round_.number, log.shift(round_, 1)) for round_ in rounds if floor]
        return cls(limit, tuple(number for number, s in shifts if s and s.beyond(limit)))

    def to_record(self) -> dict[str, Any]:
        """Return it as the records file keeps it, for the report."""
        limit = {"latency": self.limit.latency, "throughput": self.limit.throughput}
        return {"limit": limit, "beyond": list(self.beyond)}


@dataclass(frozen=True)
class Step:
    """One run to measure now, in one pass of its round.

    `shift` is why the round is measured again; None in its first pass.
    """

    round: Round
    round_pass: int
    run: Run
    shift: Shift | None

    @property
    def again(self) -> str:
        """Why the round is measured again, for the progress line; empty in its first pass."""
        if self.shift is None:
            return ""
        shifted = f"sentinel shifted {100 * self.shift.largest:.0f} %"
        return f"round {self.round.number} again: {shifted}"


class Log:
    """What the records say of each run, pass by pass. The latest valid attempt counts."""

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self._seen = 0
        self._passes: dict[str, int] = {}  # the latest that has any record
        self._valid: dict[tuple[str, int], tuple[int, tuple[float, float] | None]] = {}
        for record in records:
            self.add(record)

    def add(self, record: Mapping[str, Any]) -> None:
        """Take in the record of one more run."""
        self._seen += 1
        key, round_pass = record["run_key"], record.get("block_pass", 1)
        self._passes[key] = max(self._passes.get(key, 1), round_pass)
        if record["status"] == "ok":
            measured = None  # a profile's record has neither
            if "latency" in record:
                measured = record["latency"]["median_s"], record["throughput"]["img_s"]
            self._valid[key, round_pass] = (self._seen, measured)

    def round_pass(self, round_: Round) -> int:
        """Which pass a round is in: the latest that any of its runs has a record of."""
        return max(self._passes.get(run.key, 1) for run in round_.runs)

    def measured(self, run: Run, round_pass: int) -> tuple[float, float] | None:
        """Latency and throughput of the run's valid record; None where there is none."""
        valid = self._valid.get((run.key, round_pass))
        return valid[1] if valid else None

    def when(self, run: Run | None, round_pass: int) -> int | None:
        """The place of the run's valid record in the file; None where there is none."""
        valid = self._valid.get((run.key, round_pass)) if run else None
        return valid[0] if valid else None

    def shift(self, round_: Round, round_pass: int) -> Shift | None:
        """What the round's sentinel shifted by in one pass; None where it did not run twice."""
        if round_.opening is None or round_.closing is None:
            return None
        opened = self.measured(round_.opening, round_pass)
        closed = self.measured(round_.closing, round_pass)
        if opened is None or closed is None:
            return None
        return Shift(closed[0] / opened[0] - 1, closed[1] / opened[1] - 1)


def rounds_of(runs: Iterable[Run]) -> list[Round]:
    """Return the rounds that `runs`, in their order, make."""
    rounds = []
    for number, group in itertools.groupby(runs, key=lambda run: run.repeat):
        own = list(group)
        members = tuple(run for run in own if run.role in ("split", "end_point"))
        opening = next((run for run in own if run.role == "open"), None)
        closing = next((run for run in own if run.role == "close"), None)
        rounds.append(Round(number, members, opening, closing))
    return rounds


def steps(rounds: Iterable[Round], log: Log, attempts: int) -> Iterator[Step]:
    """Yield what each round's latest pass lacks, until nothing is left that may be tried.

    What came of a step is added to `log` before the next one is asked for. One run is tried
    `attempts` times at most.
    """
    for round_ in rounds:
        yield from _pass(round_, log, log.round_pass(round_), attempts)


def again(rounds: Iterable[Round], log: Log, drift: Drift, attempts: int) -> Iterator[Step]:
    """Yield, as `steps` does, the second and last pass of every round that drifted in its first.

    After all first passes, for only these tell how much runs scatter; and what disturbed a round
    may well be over by then.
    """
    for round_ in rounds:
        if round_.number in drift.beyond and log.round_pass(round_) == 1:
            yield from _pass(round_, log, 2, attempts)


def remaining(round_: Round, log: Log, round_pass: int) -> list[Run]:
    """Return what a pass of the round still lacks, in the order to measure it.

    Sentinels stand around something: where no member is missing, none is opened for, and a closing
    one has to come after every member, those of a resumed or enlarged round too.
    """
    members = [run for run in round_.members if log.when(run, round_pass) is None]
    if not members:
        return [round_.closing] if round_.closing and _to_close(round_, log, round_pass) else []
    opening = round_.opening if log.when(round_.opening, round_pass) is None else None
    return [run for run in (opening, *members, round_.closing) if run]


def needed(round_: Round, log: Log) -> list[Run]:
    """Return what the round's pass has and what it lacks: no sentinel around what is over."""
    round_pass = log.round_pass(round_)
    left = remaining(round_, log, round_pass)
    return [run for run in round_.runs if run in left or log.when(run, round_pass) is not None]


def outstanding(rounds: Iterable[Round], log: Log) -> list[Run]:
    """Return what the rounds' passes still lack, in the order to measure it."""
    return [run for round_ in rounds for run in remaining(round_, log, log.round_pass(round_))]


def _pass(round_: Round, log: Log, round_pass: int, attempts: int) -> Iterator[Step]:
    shift = log.shift(round_, round_pass - 1)
    tried: Counter[str] = Counter()
    while run := _next(round_, log, round_pass, tried, attempts):
        tried[run.key] += 1
        yield Step(round_, round_pass, run, shift)


def _scatter(rounds: Sequence[Round], log: Log) -> tuple[float, float]:
    """Return how far two runs of one split differ, by the logarithms of each measure.

    Of every two rounds, the differences of all splits that both have, without what moved the rounds
    as a whole: the middle one. 0 where there are too few.
    """
    seen = [
        {
            (run.role, run.cuts): tuple(map(math.log, found))
            for run in round_.runs
            if (found := log.measured(run, 1))
        }
        for round_ in rounds
    ]
    apart: tuple[list[float], list[float]] = ([], [])
    for one, other in itertools.combinations(seen, 2):
        both = one.keys() & other.keys()
        for measure, far in enumerate(apart if len(both) > 1 else ()):
            differences = [one[run][measure] - other[run][measure] for run in both]
            middle, few = statistics.median(differences), len(both) / (len(both) - 0.8)
            far += [few * abs(difference - middle) for difference in differences]
    latency, throughput = (
        _NORMAL * statistics.median(far) if len(far) >= _FEWEST else 0.0 for far in apart
    )
    return latency, throughput


def _far(shift: float, limit: float) -> bool:
    return abs(math.log1p(shift)) > math.log1p(limit)


def _next(
    round_: Round, log: Log, round_pass: int, tried: Mapping[str, int], attempts: int
) -> Run | None:
    """Return the run to measure now, None where the pass is over.

    A member that failed is tried again once the others had their turn; a sentinel at once, for its
    place is what it is for.
    """
    left = [run for run in remaining(round_, log, round_pass) if tried[run.key] < attempts]
    if left and left[0].role == "open":
        return left[0]
    members = [run for run in left if run.role != "close"]
    if members:
        return min(members, key=lambda run: tried[run.key])
    return left[0] if left and _to_close(round_, log, round_pass) else None


def _to_close(round_: Round, log: Log, round_pass: int) -> bool:
    """Whether the pass was opened, and not closed after its latest member."""
    latest = max(log.when(run, round_pass) or 0 for run in round_.members)
    opened = log.when(round_.opening, round_pass)
    closed = log.when(round_.closing, round_pass)
    return opened is not None and (closed is None or closed < latest)
