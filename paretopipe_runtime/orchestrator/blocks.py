"""Blocks: which of a cell's runs come next, and whether a block has to be measured again.

A block is all runs of one repeat: the sentinel that opens it, its splits and end points in random
order, the sentinel that closes it. What the two sentinels differ by is drift of the hosts or the
link. It is never looked for in the runs that it would excuse.

Everything here is a function of the records, so a sweep that stops anywhere goes on from there.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paretopipe_runtime.runs import Run

MAX_PASSES = 2  # of one block


@dataclass(frozen=True)
class Block:
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


@dataclass(frozen=True)
class Step:
    """One run to measure now, in one pass of its block.

    `shift` is why the block is measured again; None in its first pass.
    """

    block: Block
    block_pass: int
    run: Run
    shift: Shift | None


class Log:
    """What the records say of each run, pass by pass. The latest valid attempt counts."""

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self._seen = 0
        self._passes: dict[str, int] = {}  # the latest that has any record
        self._valid: dict[tuple[str, int], tuple[int, float, float]] = {}
        for record in records:
            self.add(record)

    def add(self, record: Mapping[str, Any]) -> None:
        """Take in the record of one more run."""
        self._seen += 1
        key, block_pass = record["run_key"], record.get("block_pass", 1)
        self._passes[key] = max(self._passes.get(key, 1), block_pass)
        if record["status"] == "ok":
            latency_s, img_s = record["latency"]["median_s"], record["throughput"]["img_s"]
            self._valid[key, block_pass] = (self._seen, latency_s, img_s)

    def block_pass(self, block: Block) -> int:
        """Which pass `block` is in: the latest that any of its runs has a record of."""
        return max(self._passes.get(run.key, 1) for run in block.runs)

    def when(self, run: Run | None, block_pass: int) -> int | None:
        """The place of the run's valid record in the file; None where there is none."""
        valid = self._valid.get((run.key, block_pass)) if run else None
        return valid[0] if valid else None

    def shift(self, block: Block, block_pass: int) -> Shift | None:
        """What the block's sentinel shifted by in one pass; None where it did not run twice."""
        if block.opening is None or block.closing is None:
            return None
        opened = self._valid.get((block.opening.key, block_pass))
        closed = self._valid.get((block.closing.key, block_pass))
        if opened is None or closed is None:
            return None
        return Shift(closed[1] / opened[1] - 1, closed[2] / opened[2] - 1)


def blocks_of(runs: Iterable[Run]) -> list[Block]:
    """Return the blocks that `runs`, in their order, make."""
    blocks = []
    for number, group in itertools.groupby(runs, key=lambda run: run.repeat):
        block = list(group)
        members = tuple(run for run in block if run.role in ("split", "end_point"))
        opening = next((run for run in block if run.role == "open"), None)
        closing = next((run for run in block if run.role == "close"), None)
        blocks.append(Block(number, members, opening, closing))
    return blocks


def steps(blocks: Iterable[Block], log: Log, limit: float, attempts: int) -> Iterator[Step]:
    """Yield what to measure next, until nothing is left that may be tried.

    What came of a step is added to `log` before the next one is asked for.

    Parameters
    ----------
    limit : float
        The largest shift of a sentinel's latency or throughput that is let pass; where it is
        larger, the block is measured once more. 0 lets every one pass.
    attempts : int
        How often one run may be tried in one pass.
    """
    for block in blocks:
        block_pass = log.block_pass(block)
        while True:
            earlier = log.shift(block, block_pass - 1)
            tried: Counter[str] = Counter()
            while run := _next(block, log, block_pass, tried, attempts):
                tried[run.key] += 1
                yield Step(block, block_pass, run, earlier)
            shift = log.shift(block, block_pass)
            if not (limit and shift and shift.largest > limit and block_pass < MAX_PASSES):
                break
            block_pass += 1


def remaining(block: Block, log: Log, block_pass: int) -> list[Run]:
    """Return what a pass of the block still lacks, in the order to measure it.

    Sentinels stand around something: where no member is missing, none is opened for, and a closing
    one has to come after every member, those of a resumed or enlarged block too.
    """
    members = [run for run in block.members if log.when(run, block_pass) is None]
    if not members:
        return [block.closing] if block.closing and _to_close(block, log, block_pass) else []
    opening = block.opening if log.when(block.opening, block_pass) is None else None
    return [run for run in (opening, *members, block.closing) if run]


def needed(block: Block, log: Log) -> list[Run]:
    """Return what the block's pass has and what it lacks: no sentinel around what is over."""
    block_pass = log.block_pass(block)
    left = remaining(block, log, block_pass)
    return [run for run in block.runs if run in left or log.when(run, block_pass) is not None]


def outstanding(blocks: Iterable[Block], log: Log) -> list[Run]:
    """Return what the blocks' passes still lack, in the order to measure it."""
    return [run for block in blocks for run in remaining(block, log, log.block_pass(block))]


def continued(document: dict[str, Any], earlier: Sequence[Any]) -> dict[str, Any]:
    """Return a plan's document whose further blocks come after those of `earlier` plans.

    A block's number is part of its runs' keys: new splits never join blocks that are over.
    """
    more = document.get("more")
    if not more:
        return document
    return {**document, "more": [*earlier, *(entry for entry in more if entry not in earlier)]}


def _next(
    block: Block, log: Log, block_pass: int, tried: Mapping[str, int], attempts: int
) -> Run | None:
    """Return the run to measure now, None where the pass is over.

    A member that failed is tried again once the others had their turn; a sentinel at once, for its
    place is what it is for.
    """
    left = [run for run in remaining(block, log, block_pass) if tried[run.key] < attempts]
    if left and left[0].role == "open":
        return left[0]
    members = [run for run in left if run.role != "close"]
    if members:
        return min(members, key=lambda run: tried[run.key])
    return left[0] if left and _to_close(block, log, block_pass) else None


def _to_close(block: Block, log: Log, block_pass: int) -> bool:
    """Whether the pass was opened, and not closed after its latest member."""
    latest = max(log.when(run, block_pass) or 0 for run in block.members)
    opened = log.when(block.opening, block_pass)
    closed = log.when(block.closing, block_pass)
    return opened is not None and (closed is None or closed < latest)
