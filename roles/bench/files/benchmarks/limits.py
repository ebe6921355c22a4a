"""Bounds on latency and throughput, and the ratios of measured runs to them and to each other.

t1 and t2 are stage times without payload, of the same round and allocator; wire is a batch's time
on the wire, of which a lone batch saves the token bucket's burst; sends and receives are the
processor seconds of a raw socket for a batch's bytes, which a host with one processor cannot spend
on its stage::

    latency    >= t1 + wire - burst / rate + delay + t2
    throughput <= batch / max(t1 + sends, wire, receives + t2)

t1 and t2 come from the saturated phase, with both cores busy; for the *resting* latency limit,
from the phase with one batch in flight.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from paretopipe_runtime.contract.units import transfer_s

Row = dict[str, Any]
Result = dict[str, Any]
Results = dict[str, Result]
#: The method of the paper's code.
PAPER = "pickle/default"
Place = tuple[Any, ...]
ByPlace = dict[Place, Row]
#: What tells the rows of a network apart.
PLACE = ("part", "round", "nbytes", "method", "model", "split", "variant", "engine")


@dataclass(frozen=True)
class Spread:
    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, rows: Iterable[Row], field: str) -> Spread | None:
        """Return the spread of a field in the rows where it is known; None if there are none."""
        known = [row[field] for row in rows if row.get(field) is not None]
        if not known:
            return None
        return cls(statistics.median(known), min(known), max(known), len(known))

    def text(self, form: str, scale: float = 1.0) -> str:
        """Return ``1.02 (0.99–1.05)`` for a form of ``.2f``."""
        middle, low, high = (
            f"{value * scale:{form}}" for value in (self.median, self.low, self.high)
        )
        return f"{middle} ({low}–{high})"


@dataclass(frozen=True)
class Link:
    """Link rate (of the wire, or of a raw socket), burst and one-way delay; a raw socket's cost."""

    rate_mbit: float | None
    raw_bytes_s: float | None
    delay_s: float
    burst_bytes: int = 0
    #: Processor seconds per byte at the sender and at the receiver.
    raw_s_byte: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, result: Result) -> Link:
        """Return a result's link; a raw socket's figures are those of its largest tensors."""
        raw = [row for row in result["rows"] if row.get("method", "").startswith("raw")]
        largest = max((row["nbytes"] for row in raw), default=0)
        rows = chosen(raw, nbytes=largest)
        moved = Spread.of(rows, "bytes_s")
        link = result["link"]
        spent = [
            [seconds / (row["bytes_s"] * row["stream_s"]) for seconds in row["processor_s"]]
            for row in rows
            if row.get("processor_s")
        ]
        sender, receiver = map(statistics.median, zip(*spent, strict=True)) if spent else (0.0, 0.0)
        return cls(
            link["rate_mbit"],
            moved.median if moved else None,
            link["delay_s"],
            link.get("burst_bytes", 0),
            (sender, receiver),
        )

    def wire_s(self, nbytes: int) -> float:
        """Return a batch's seconds on the wire in a steady stream."""
        if self.rate_mbit:
            return transfer_s(nbytes, self.rate_mbit)
        return nbytes / self.raw_bytes_s if self.raw_bytes_s else 0.0

    def lone_wire_s(self, nbytes: int) -> float:
        """Return the seconds of a batch that finds the token bucket full."""
        return self.wire_s(max(0, nbytes - self.burst_bytes))


@dataclass(frozen=True)
class Limit:
    """Limit of one case in one round, in seconds."""

    t1: float
    t2: float
    lone_wire: float
    wire: float
    delay: float
    sends: float = 0.0
    receives: float = 0.0

    @classmethod
    def of(cls, compute_s: Sequence[float], nbytes: int, link: Link) -> Limit:
        """Return the limit of two stages' seconds and a payload over a link."""
        (one, two), (sends, receives) = compute_s, (nbytes * cost for cost in link.raw_s_byte)
        lone, wire = link.lone_wire_s(nbytes), link.wire_s(nbytes)
        return cls(one, two, lone, wire, link.delay_s, sends, receives)

    @property
    def latency_s(self) -> float:
        return self.t1 + self.lone_wire + self.delay + self.t2

    @property
    def pace_s(self) -> float:
        """Least time between two batches."""
        return max(self.t1 + self.sends, self.wire, self.receives + self.t2)

    def makespan_s(self, batches: int) -> float:
        """Return the least time from first start to last completion."""
        return self.latency_s + (batches - 1) * self.pace_s


def counted(results: Results) -> list[Row]:
    """Return the rows of valid runs with more figures, and a `case` to call them by.

    Ratios are taken within a round, if it has what they need. Of a run for memory there is a row
    for each stage.
    """
    rows: list[Row] = []
    for network, result in results.items():
        link = Link.of(result)
        valid = [
            {**row, "network": network, "case": _case(row)}
            for row in result["rows"]
            if row.get("status", "ok") == "ok"
        ]
        by_place = {_place(row): row for row in valid}
        for row in valid:
            rows += (row | more for more in _MORE[row["part"]](row, by_place, link))
    return rows


def chosen(rows: Iterable[Row], **fields: Any) -> list[Row]:
    """Return the rows that have these fields."""
    return [row for row in rows if fields.items() <= row.items()]


def grouped(rows: Iterable[Row], *names: str) -> Iterable[tuple[Place, list[Row]]]:
    """Group rows by the named fields, in order of first appearance."""
    groups: dict[Place, list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups.items()


def backend_of(variant: str) -> str:
    """Return ``pickle`` for ``pickle/default``."""
    return variant.partition("/")[0]


def allocator_of(variant: str) -> str:
    """Return ``default`` for ``pickle/default``, ``tuned`` for ``pickle``."""
    return variant.partition("/")[2] or "tuned"


def link_busy(row: Row, link: Link) -> float:
    """Return the link's busy share between the first tensor's departure and the last one's arrival.

    It uses the run's own stage times, so that completions in bursts cannot inflate it.
    """
    one, two = (stage["throughput"] for stage in row["compute_s"])
    open_s = row["makespan_s"] - one - two - link.delay_s
    return float(row["batches"] * link.wire_s(row["hop_bytes"]) / open_s)


def _case(row: Row) -> str:
    """Return ``4 KB``, ``32 MB`` or ``alexnet P7``."""
    if row["part"] != "transport":
        return f"{row['model']} {row['split']}"
    kib = row["nbytes"] // 1024
    return f"{kib // 1024} MB" if kib >= 1024 else f"{kib} KB"


def _place(row: Row, **other: str) -> Place:
    return tuple(map({**row, **other}.get, PLACE))


def _ratio(row: Row, figure: str, by_place: ByPlace, **other: str) -> float | None:
    """Return a figure over that of the row which differs in `other`."""
    base = by_place.get(_place(row, **other))
    return row[figure] / base[figure] if base and base[figure] else None


def _transport(row: Row, by_place: ByPlace, _: Link) -> Iterator[Row]:
    gigabytes = row["bytes_s"] * row["stream_s"] / 1e9
    sender_s, receiver_s = row.get("processor_s", (None, None))
    yield {
        "one_way / raw": _ratio(row, "one_way_s", by_place, method="raw/default"),
        "bytes / raw": _ratio(row, "bytes_s", by_place, method="raw/default"),
        "one_way / ours": _ratio(row, "one_way_s", by_place, method="ours/tuned"),
        "sender_s_gb": sender_s and sender_s / gigabytes,
        "receiver_s_gb": receiver_s and receiver_s / gigabytes,
    }


def _pipeline(row: Row, by_place: ByPlace, link: Link) -> Iterator[Row]:
    """Yield ratios, of which 1 is perfect if they are to a limit; `alone` is the limit.

    ``img_s / own`` is to the run's own stage times: what it leaves of 1 is the data plane's, what
    ``img_s / limit`` lacks beyond that are stages that computed slower than alone.
    """
    own_s = Limit.of([stage["throughput"] for stage in row["compute_s"]], row["hop_bytes"], link)
    more = {
        "img_s / own": row["steady_img_s"] / row["batch"] * own_s.pace_s,
        "latency / rpc": _ratio(row, "latency_s", by_place, variant="rpc"),
        "img_s / rpc": _ratio(row, "steady_img_s", by_place, variant="rpc"),
    }
    if link.delay_s:
        wire_s = link.wire_s(row["hop_bytes"])
        theory_s = wire_s + link.delay_s
        more |= {
            "theory_s": theory_s,
            "transfer / theory": row["network_s"] / theory_s,
            "link_busy": link_busy(row, link),
            "link_bound": all(stage["throughput"] < wire_s for stage in row["compute_s"]),
        }
    if (backend := backend_of(row["variant"])) != "alone":
        variant = row["variant"].replace(backend, "alone")
        more |= _to_limit(row, by_place.get(_place(row, variant=variant)), link)
        more["latency / paper"] = _ratio(row, "latency_s", by_place, variant=PAPER)
        more["img_s / paper"] = _ratio(row, "steady_img_s", by_place, variant=PAPER)
    yield more


def _to_limit(row: Row, alone: Row | None, link: Link) -> Row:
    """Return a run's limit and ratios to it, from the `alone` run of its round and allocator."""
    if alone is None:
        return {}
    busy, resting = (
        Limit.of([stage[phase] for stage in alone["compute_s"]], row["hop_bytes"], link)
        for phase in ("throughput", "latency")
    )
    return {
        "latency / limit": row["latency_s"] / busy.latency_s,
        "latency / resting": row["latency_s"] / resting.latency_s,
        "img_s / limit": row["steady_img_s"] / row["batch"] * busy.pace_s,
        "whole": busy.makespan_s(row["batches"]) / row["makespan_s"],
        "t1": busy.t1,
        "wire": busy.wire,
        "sends": busy.sends,
        "receives": busy.receives,
        "t2": busy.t2,
    }


def _engines(row: Row, by_place: ByPlace, _: Link) -> Iterator[Row]:
    one_s, two_s = (stage["latency"] for stage in row["compute_s"])
    eager = by_place.get(_place(row, engine="eager"))
    eager_s = eager and sum(stage["latency"] for stage in eager["compute_s"])
    yield {
        "one_s": one_s,
        "two_s": two_s,
        "speed_up": eager_s and eager_s / (one_s + two_s),
        "largest_rss": max(row["peak_rss"]),
        "loads_s": sum(row["load_s"]),
    }


def _memory(row: Row, _: ByPlace, __: Link) -> Iterator[Row]:
    """Yield each stage's peak, and what it needs: weights, two activations, an empty process."""
    names = ("partition_bytes", "two_activations", "baseline_rss", "peak_rss")
    for stage, (*needed, peak) in enumerate(zip(*map(row.get, names), strict=True), 1):
        yield {
            **dict(zip(names, (*needed, peak), strict=True)),
            "case": f"{row['case']} stage {stage}",
            "allocator": allocator_of(row["variant"]),
            "peak / sum": peak / sum(needed),
        }


_MORE: dict[str, Callable[[Row, ByPlace, Link], Iterator[Row]]] = {
    "transport": _transport,
    "pipeline": _pipeline,
    "engines": _engines,
    "memory": _memory,
}
