"""Requirements on the data plane, each with its measurement and verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.limits import Row, Spread, chosen, grouped

NETWORK, FAST, SLOW = "unshaped", "gigabit", "wan"


@dataclass(frozen=True)
class Bar:
    """A bound on the median of one figure: `most` or `least`.

    With `tie`, it is missed only if every round misses it.
    """

    number: int
    what: str
    seen: Spread | None
    most: float | None = None
    least: float | None = None
    tie: bool = False

    @property
    def wanted(self) -> str:
        """Return ``≤ 1.03`` or ``≥ 0.97``."""
        return f"≤ {self.most:g}" if self.most is not None else f"≥ {self.least:g}"

    @property
    def verdict(self) -> str:
        if self.seen is None:
            return "not measured"
        if self._holds(self.seen.median):
            return "pass"
        best = self.seen.low if self.most is not None else self.seen.high
        return "pass (tie)" if self.tie and self._holds(best) else "**falls short**"

    def _holds(self, value: float) -> bool:
        if self.most is not None:
            return value <= self.most
        return self.least is not None and value >= self.least


def bars(rows: Sequence[Row]) -> Iterator[Bar]:
    """Yield the bars of `limits.counted`'s rows."""
    for network in (NETWORK, FAST):
        yield from _transport(network, chosen(rows, network=network, part="transport"))
    yield from _pipeline(chosen(rows, network=FAST, part="pipeline"))
    yield from _slow(chosen(rows, network=SLOW, part="pipeline", variant="socket"))
    yield from _paper(chosen(rows, network=FAST, part="pipeline", variant="socket"))
    yield from _memory(chosen(rows, network=NETWORK, part="memory", variant="socket/default"))


def _transport(network: str, rows: Sequence[Row]) -> Iterator[Bar]:
    for size in ("4 MB", "32 MB"):
        seen = Spread.of(chosen(rows, method="ours/tuned", case=size), "bytes / raw")
        yield Bar(1, f"{network}: our throughput / raw, {size}", seen, least=0.95)
    for size in ("4 KB", "256 KB", "4 MB", "32 MB"):
        seen = Spread.of(chosen(rows, method="rpc/tuned", case=size), "one_way / ours")
        wanted = 2.5 if (network, size) == (NETWORK, "32 MB") else 1.0
        what = f"{network}: RPC's one-way time / ours, {size}"
        yield Bar(1, what, seen, least=wanted, tie=wanted == 1.0)


def _pipeline(rows: Sequence[Row]) -> Iterator[Bar]:
    for (case,), some in grouped(rows, "case"):
        ours, name = chosen(some, variant="socket"), f"{FAST}: {case}"
        yield Bar(2, f"{name}: latency / limit", Spread.of(ours, "latency / limit"), most=1.03)
        yield Bar(2, f"{name}: throughput / limit", Spread.of(ours, "img_s / limit"), least=0.95)
        seen = Spread.of(ours, "latency / rpc")
        yield Bar(2, f"{name}: latency / RPC's", seen, most=1.0, tie=True)
        seen = Spread.of(ours, "img_s / rpc")
        yield Bar(2, f"{name}: throughput / RPC's", seen, least=1.0, tie=True)
    if not rows:
        yield Bar(2, f"{FAST}: latency / limit", None, most=1.03)


def _slow(rows: Sequence[Row]) -> Iterator[Bar]:
    for (case,), some in grouped(rows, "case"):
        seen = Spread.of(some, "transfer / theory")
        yield Bar(3, f"{SLOW}: {case}: warm transfer / theory", seen, most=1.05)
        if all(row["link_bound"] for row in some):
            seen = Spread.of(some, "link_busy")
            yield Bar(3, f"{SLOW}: {case}: link busy when saturated", seen, least=0.97)
    if not rows:
        yield Bar(3, f"{SLOW}: transfer time / theory", None, most=1.05)


def _paper(rows: Sequence[Row]) -> Iterator[Bar]:
    small, large = chosen(rows, case="mobilenetv2 P3"), chosen(rows, case="resnet18 P6")
    than = "the paper's method"
    seen = Spread.of(small, "img_s / paper")
    yield Bar(4, f"{FAST}: mobilenetv2 P3: throughput / {than}", seen, least=1.5)
    seen = Spread.of(small, "latency / paper")
    yield Bar(4, f"{FAST}: mobilenetv2 P3: latency / {than}", seen, most=0.6)
    seen = Spread.of(large, "img_s / paper")
    yield Bar(4, f"{FAST}: resnet18 P6: throughput / {than}", seen, least=1.2)


def _memory(rows: Sequence[Row]) -> Iterator[Bar]:
    for (case,), some in grouped(rows, "case"):
        yield Bar(7, f"{case}: peak memory", Spread.of(some, "peak / sum"), most=1.25)
    if not rows:
        yield Bar(7, "vgg16: peak memory", None, most=1.25)
