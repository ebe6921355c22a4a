"""Rounds: the order of a cell's runs, and repeats after drift.

A round is all runs of one repeat: an opening sentinel, splits and end points in random order, a
closing sentinel. Sentinels that differ by more than two runs of one split do show drift. Records
call a round's pass ``block_pass``. All derived from the records, so resumable.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from paretopipe_runtime.contract.measures import sustained_img_s
from paretopipe_runtime.judging import drift
from paretopipe_runtime.orchestrator.runs import Run


@dataclass(frozen=True)
class Round:
    """All runs of one repeat; a profile's has no sentinels."""

    number: int
    members: tuple[Run, ...]
    opening: Run | None = None
    closing: Run | None = None

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(run for run in (self.opening, *self.members, self.closing) if run)


@dataclass(frozen=True)
class Shift:
    """Relative change from the opening to the closing sentinel: close / open - 1."""

    latency: float
    throughput: float

    @property
    def largest(self) -> float:
        return max(abs(self.latency), abs(self.throughput))

    def beyond(self, limit: Shift) -> bool:
        """Tell whether either is past its limit on a log scale, where half is as far as double."""
        return _far(self.latency, limit.latency) or _far(self.throughput, limit.throughput)


@dataclass(frozen=True)
class Drift:
    """Verdict on a cell's first passes: the limit of each round, and the rounds beyond it.

    Only the first `repeats` rounds tell the scatter, so that further ones leave earlier verdicts
    alone.
    """

    limits: dict[int, Shift]
    beyond: tuple[int, ...]

    @classmethod
    def of(
        cls, rounds: Iterable[Round], log: Log, floor: float, repeats: int, prior_cv: float = 0.0
    ) -> Drift:
        """Judge the rounds that have both sentinels, none if `floor` is 0."""
        rounds = list(rounds)
        whole = {round_.number: log.logs(round_) for round_ in rounds if round_.number <= repeats}
        numbers = [round_.number for round_ in rounds]
        found = drift.limits(whole, numbers, floor, prior_cv)
        limits = {number: Shift(*limit) for number, limit in found.items()}
        shifts = [(round_.number, log.shift(round_, 1)) for round_ in rounds if floor]
        beyond = tuple(number for number, s in shifts if s and s.beyond(limits[number]))
        return cls(limits, beyond)

    def to_record(self) -> dict[str, Any]:
        """Return limits by figure, a list in the order of the rounds, and the rounds beyond."""
        limits = self.limits.values()
        limit = {key: [getattr(one, key) for one in limits] for key in ("latency", "throughput")}
        return {"limit": limit, "beyond": list(self.beyond)}


@dataclass(frozen=True)
class Step:
    """One run to measure; `shift` is the drift of the pass before, if any."""

    round: Round
    round_pass: int
    run: Run
    shift: Shift | None

    @property
    def again(self) -> str:
        """The reason for a repeat, for the progress line."""
        if self.shift is None:
            return ""
        shifted = f"sentinel shifted {100 * self.shift.largest:.0f} %"
        return f"round {self.round.number} again: {shifted}"


class Log:
    """Index of valid records by run and pass; the latest counts."""

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self._seen = 0
        self._passes: dict[str, int] = {}  # the latest with a record
        self._valid: dict[tuple[str, int], tuple[int, tuple[float, float] | None]] = {}
        for record in records:
            self.add(record)

    def add(self, record: Mapping[str, Any]) -> None:
        self._seen += 1
        key, round_pass = record["run_key"], record.get("block_pass", 1)
        self._passes[key] = max(self._passes.get(key, 1), round_pass)
        if record["status"] == "ok":
            measured = None  # a profile's record has neither
            if "latency" in record:
                measured = record["latency"]["median_s"], sustained_img_s(record["throughput"])
            self._valid[key, round_pass] = (self._seen, measured)

    def round_pass(self, round_: Round) -> int:
        """Return the latest pass that has a record."""
        return max(self._passes.get(run.key, 1) for run in round_.runs)

    def measured(self, run: Run, round_pass: int) -> tuple[float, float] | None:
        """Return latency and throughput of the run's valid record."""
        valid = self._valid.get((run.key, round_pass))
        return valid[1] if valid else None

    def logs(self, round_: Round) -> dict[Hashable, tuple[float, ...]]:
        """Return the logarithms of latency and throughput of the valid runs of the first pass."""
        return {
            (run.role, run.cuts): tuple(map(math.log, found))
            for run in round_.runs
            if (found := self.measured(run, 1))
        }

    def when(self, run: Run | None, round_pass: int) -> int | None:
        """Return the position of the run's valid record in the file."""
        valid = self._valid.get((run.key, round_pass)) if run else None
        return valid[0] if valid else None

    def shift(self, round_: Round, round_pass: int) -> Shift | None:
        """Return the sentinels' shift in one pass if both have run."""
        if round_.opening is None or round_.closing is None:
            return None
        opened = self.measured(round_.opening, round_pass)
        closed = self.measured(round_.closing, round_pass)
        if opened is None or closed is None:
            return None
        return Shift(closed[0] / opened[0] - 1, closed[1] / opened[1] - 1)


def rounds_of(runs: Iterable[Run]) -> list[Round]:
    rounds = []
    for number, group in itertools.groupby(runs, key=lambda run: run.repeat):
        own = list(group)
        members = tuple(run for run in own if run.role in ("split", "end_point"))
        opening = next((run for run in own if run.role == "open"), None)
        closing = next((run for run in own if run.role == "close"), None)
        rounds.append(Round(number, members, opening, closing))
    return rounds


def steps(rounds: Iterable[Round], log: Log, attempts: int) -> Iterator[Step]:
    """Yield the missing runs of each round's latest pass, each at most `attempts` times.

    Add each result to `log` before the next step.
    """
    for round_ in rounds:
        yield from _pass(round_, log, log.round_pass(round_), attempts)


def again(rounds: Iterable[Round], log: Log, drift: Drift, attempts: int) -> Iterator[Step]:
    """Yield a second, last pass of every round that drifted.

    Follows all first passes: these give the scatter, and the disturbance may be over by then.
    """
    for round_ in rounds:
        if round_.number in drift.beyond and log.round_pass(round_) == 1:
            yield from _pass(round_, log, 2, attempts)


def remaining(round_: Round, log: Log, round_pass: int) -> list[Run]:
    """Return the missing runs of a pass, in order.

    No opening sentinel without missing members; a closing one must follow every member.
    """
    members = [run for run in round_.members if log.when(run, round_pass) is None]
    if not members:
        return [round_.closing] if round_.closing and _to_close(round_, log, round_pass) else []
    opening = round_.opening if log.when(round_.opening, round_pass) is None else None
    return [run for run in (opening, *members, round_.closing) if run]


def needed(round_: Round, log: Log) -> list[Run]:
    """Return the pass's measured and missing runs."""
    round_pass = log.round_pass(round_)
    left = remaining(round_, log, round_pass)
    return [run for run in round_.runs if run in left or log.when(run, round_pass) is not None]


def outstanding(rounds: Iterable[Round], log: Log) -> list[Run]:
    """Return the missing runs of all rounds, in order."""
    return [run for round_ in rounds for run in remaining(round_, log, log.round_pass(round_))]


def _pass(round_: Round, log: Log, round_pass: int, attempts: int) -> Iterator[Step]:
    shift = log.shift(round_, round_pass - 1)
    tried: Counter[str] = Counter()
    while run := _next(round_, log, round_pass, tried, attempts):
        tried[run.key] += 1
        yield Step(round_, round_pass, run, shift)


def _far(shift: float, limit: float) -> bool:
    return abs(math.log1p(shift)) > math.log1p(limit)


def _next(
    round_: Round, log: Log, round_pass: int, tried: Mapping[str, int], attempts: int
) -> Run | None:
    """Return the next run, None at the end of the pass.

    A failed member is retried after the others; a sentinel at once, as its place matters.
    """
    left = [run for run in remaining(round_, log, round_pass) if tried[run.key] < attempts]
    if left and left[0].role == "open":
        return left[0]
    members = [run for run in left if run.role != "close"]
    if members:
        return min(members, key=lambda run: tried[run.key])
    return left[0] if left and _to_close(round_, log, round_pass) else None


def _to_close(round_: Round, log: Log, round_pass: int) -> bool:
    latest = max(log.when(run, round_pass) or 0 for run in round_.members)
    opened = log.when(round_.opening, round_pass)
    closed = log.when(round_.closing, round_pass)
    return opened is not None and (closed is None or closed < latest)
