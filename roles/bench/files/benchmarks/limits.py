"""Bounds on latency and throughput, and the ratios of measured runs to them.

t1 and t2 are stage times without payload, of the same round and allocator; wire is a batch's time
on the wire::

    latency    >= t1 + wire + delay + t2
    throughput <= batch / max(t1, wire, t2)

t1 and t2 come from the saturated phase, with both cores busy; for the *resting* latency limit,
from the phase with one batch in flight.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from paretopipe_runtime.contract.units import transfer_s

Row = dict[str, Any]


@dataclass(frozen=True)
class Spread:
    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Return the spread of the values; None if there are none."""
        known = list(values)
        if not known:
            return None
        return cls(statistics.median(known), min(known), max(known), len(known))

    def text(self, digits: int, scale: float = 1.0) -> str:
        """Return ``1.02 (0.99–1.05)``."""
        middle, low, high = (
            f"{value * scale:.{digits}f}" for value in (self.median, self.low, self.high)
        )
        return f"{middle} ({low}–{high})"


@dataclass(frozen=True)
class Limit:
    """Limit of one case in one round, in seconds."""

    t1: float
    t2: float
    resting_t1: float
    resting_t2: float
    wire: float
    delay: float

    @property
    def latency_s(self) -> float:
        """Limit with both cores busy."""
        return self.t1 + self.wire + self.delay + self.t2

    @property
    def resting_latency_s(self) -> float:
        """Limit with the other core idle."""
        return self.resting_t1 + self.wire + self.delay + self.resting_t2

    @property
    def pace_s(self) -> float:
        """Least time between two batches."""
        return max(self.t1, self.wire, self.t2)

    def makespan_s(self, batches: int) -> float:
        """Return the least time from first start to last completion."""
        return self.latency_s + (batches - 1) * self.pace_s


@dataclass(frozen=True)
class Link:
    """Link rate (of the wire, or of a raw socket) and one-way delay."""

    rate_mbit: float | None
    raw_bytes_s: float | None
    delay_s: float

    @classmethod
    def of(cls, result: dict[str, Any]) -> Link:
        """Return a result's link; a raw socket's rate is that of its largest tensors."""
        raw = [row for row in of_part(result, "transport") if row["method"].startswith("raw")]
        largest = max((row["nbytes"] for row in raw), default=0)
        moved = Spread.of(row["bytes_s"] for row in raw if row["nbytes"] == largest)
        link = result["link"]
        return cls(link["rate_mbit"], moved.median if moved else None, link["delay_s"])

    def wire_s(self, nbytes: int) -> float:
        if self.rate_mbit:
            return transfer_s(nbytes, self.rate_mbit)
        return nbytes / self.raw_bytes_s if self.raw_bytes_s else 0.0


def of_part(result: dict[str, Any], part: str) -> list[Row]:
    """Return a result's rows of one part, without failed and invalid runs."""
    rows = [row for row in result["rows"] if row["part"] == part]
    return [row for row in rows if row.get("status", "ok") == "ok"]


def grouped(rows: Sequence[Row], *names: str) -> dict[tuple[Any, ...], list[Row]]:
    """Group rows by the named fields, in order of first appearance."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def allocator_of(variant: str) -> str:
    """Return ``default`` for ``pickle/default``, ``tuned`` for ``pickle``."""
    return variant.partition("/")[2] or "tuned"


def backend_of(variant: str) -> str:
    """Return ``pickle`` for ``pickle/default``."""
    return variant.partition("/")[0]


def limit_of(row: Row, rows: Sequence[Row], link: Link) -> Limit | None:
    """Return a run's limit from the `alone` run of its round; None without one."""
    for alone in rows:
        if (
            backend_of(alone["variant"]) == "alone"
            and allocator_of(alone["variant"]) == allocator_of(row["variant"])
            and all(alone[name] == row[name] for name in ("model", "split", "round"))
        ):
            one, two = alone["compute_s"]
            return Limit(
                one["throughput"],
                two["throughput"],
                one["latency"],
                two["latency"],
                link.wire_s(row["hop_bytes"]),
                link.delay_s,
            )
    return None


def against_limit(
    some: Sequence[Row], rows: Sequence[Row], link: Link, ratio: Callable[[Row, Limit], float]
) -> Spread | None:
    """Return the spread of a ratio of runs to their limits."""
    limits = ((row, limit_of(row, rows, link)) for row in some)
    return Spread.of(ratio(row, limit) for row, limit in limits if limit)


def against(some: Sequence[Row], others: Sequence[Row], field: str) -> Spread | None:
    """Return the spread of ``some / others`` in a field, paired by round."""
    by_round = {row["round"]: row[field] for row in others}
    return Spread.of(
        row[field] / by_round[row["round"]] for row in some if by_round.get(row["round"])
    )


def latency_ratio(row: Row, limit: Limit) -> float:
    """Return latency over its limit: 1 is perfect, more is worse."""
    return float(row["latency_s"] / limit.latency_s)


def resting_latency_ratio(row: Row, limit: Limit) -> float:
    return float(row["latency_s"] / limit.resting_latency_s)


def throughput_ratio(row: Row, limit: Limit) -> float:
    """Return steady throughput over its limit: 1 is perfect, less is worse."""
    return float(row["steady_img_s"] / row["batch"] * limit.pace_s)


def makespan_ratio(row: Row, limit: Limit) -> float:
    """Return the limit's makespan over the measured one: 1 is perfect, less is worse."""
    return limit.makespan_s(row["batches"]) / float(row["makespan_s"])


def link_busy(row: Row, link: Link) -> float:
    """Return the link's busy share between the first tensor's departure and the last one's arrival.

    It uses the run's own stage times, so that completions in bursts cannot inflate it.
    """
    one, two = (stage["throughput"] for stage in row["compute_s"])
    open_s = row["makespan_s"] - one - two - link.delay_s
    return float(row["batches"] * link.wire_s(row["hop_bytes"]) / open_s)
