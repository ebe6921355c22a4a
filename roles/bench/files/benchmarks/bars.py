"""Requirements on the data plane, each with its measurement and verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.limits import (
    Link,
    Row,
    Spread,
    against,
    against_limit,
    grouped,
    latency_ratio,
    link_busy,
    of_part,
    throughput_ratio,
)

NETWORK, FAST, SLOW = "unshaped", "gigabit", "wan"
KB, MB = 1024, 1024 * 1024
Results = dict[str, dict[str, Any]]


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


def bars(results: Results) -> list[Bar]:
    return [
        *_transport(results),
        *_pipeline(results),
        *_slow(results),
        *_paper(results),
        *_memory(results),
    ]


def _transport(results: Results) -> Iterator[Bar]:
    for network in (NETWORK, FAST):
        rows = of_part(results[network], "transport") if network in results else []
        by = grouped(rows, "method", "nbytes")

        def ratio(
            one: str, other: str, nbytes: int, field: str, by: dict[Any, list[Row]] = by
        ) -> Spread | None:
            return against(by.get((one, nbytes), []), by.get((other, nbytes), []), field)

        for nbytes in (4 * MB, 32 * MB):
            seen = ratio("ours/tuned", "raw/default", nbytes, "bytes_s")
            yield Bar(1, f"{network}: our throughput / raw, {size(nbytes)}", seen, least=0.95)
        for nbytes in (4 * KB, 256 * KB):
            seen = ratio("ours/tuned", "raw/default", nbytes, "one_way_s")
            yield Bar(1, f"{network}: our one-way time / raw, {size(nbytes)}", seen, most=1.3)
        for nbytes in (4 * KB, 256 * KB, 4 * MB, 32 * MB):
            seen = ratio("rpc/tuned", "ours/tuned", nbytes, "one_way_s")
            wanted = {(NETWORK, 32 * MB): 2.5, (FAST, 256 * KB): 3.0}.get((network, nbytes), 1.0)
            what = f"{network}: RPC's one-way time / ours, {size(nbytes)}"
            yield Bar(1, what, seen, least=wanted, tie=wanted == 1.0)


def _pipeline(results: Results) -> Iterator[Bar]:
    result = results.get(FAST)
    rows = of_part(result, "pipeline") if result else []
    link = Link.of(result) if result else Link(None, None, 0)
    by = grouped(rows, "model", "split", "variant")
    for model, split in grouped(rows, "model", "split"):
        name = f"{FAST}: {model} {split}"
        ours, rpc = by.get((model, split, "socket"), []), by.get((model, split, "rpc"), [])
        seen = against_limit(ours, rows, link, latency_ratio)
        yield Bar(2, f"{name}: latency / limit", seen, most=1.03)
        seen = against_limit(ours, rows, link, throughput_ratio)
        yield Bar(2, f"{name}: throughput / limit", seen, least=0.97)
        seen = against(ours, rpc, "latency_s")
        yield Bar(2, f"{name}: latency / RPC's", seen, most=1.0, tie=True)
        seen = against(ours, rpc, "steady_img_s")
        yield Bar(2, f"{name}: throughput / RPC's", seen, least=1.0, tie=True)
    if not rows:
        yield Bar(2, f"{FAST}: latency / limit", None, most=1.03)


def _slow(results: Results) -> Iterator[Bar]:
    result = results.get(SLOW)
    if result is None:
        yield Bar(3, f"{SLOW}: transfer time / theory", None, most=1.05)
        return
    rows, link = of_part(result, "pipeline"), Link.of(result)
    ours = [row for row in rows if row["variant"] == "socket"]
    for (model, split), some in grouped(ours, "model", "split").items():
        wire_s = link.wire_s(some[0]["hop_bytes"])
        name = f"{SLOW}: {model} {split}"
        theory_s = wire_s + link.delay_s
        seen = Spread.of(row["network_s"] / theory_s for row in some)
        yield Bar(3, f"{name}: warm transfer / theory", seen, most=1.05)
        if all(stage["throughput"] < wire_s for row in some for stage in row["compute_s"]):
            seen = Spread.of(link_busy(row, link) for row in some)
            yield Bar(3, f"{name}: link busy when saturated", seen, least=0.95)


def _paper(results: Results) -> Iterator[Bar]:
    rows = of_part(results[FAST], "pipeline") if FAST in results else []
    by = grouped(rows, "model", "split", "variant")

    def ratio(model: str, split: str, field: str) -> Spread | None:
        ours, theirs = (by.get((model, split, name), []) for name in ("socket", "pickle/default"))
        return against(ours, theirs, field)

    name = f"{FAST}: mobilenetv2 P3: "
    seen = ratio("mobilenetv2", "P3", "steady_img_s")
    yield Bar(4, f"{name}throughput / the paper's method", seen, least=1.5)
    seen = ratio("mobilenetv2", "P3", "latency_s")
    yield Bar(4, f"{name}latency / the paper's method", seen, most=0.6)
    seen = ratio("resnet18", "P6", "steady_img_s")
    yield Bar(4, f"{FAST}: resnet18 P6: throughput / the paper's method", seen, least=1.2)


def _memory(results: Results) -> Iterator[Bar]:
    rows = of_part(results[NETWORK], "memory") if NETWORK in results else []
    default = [row for row in rows if row["variant"] == "socket/default"]
    for (model, split), some in grouped(default, "model", "split").items():
        for stage in range(len(some[0]["peak_rss"])):
            seen = Spread.of(memory_ratio(row, stage) for row in some)
            yield Bar(7, f"{model} {split} stage {stage + 1}: peak memory", seen, most=1.25)
    if not default:
        yield Bar(7, "vgg16: peak memory", None, most=1.25)


def memory_ratio(row: Row, stage: int) -> float:
    """Return peak memory over weights, two largest activations and baseline."""
    needed = sum(row[name][stage] for name in ("partition_bytes", "two_activations"))
    return float(row["peak_rss"][stage] / (needed + row["baseline_rss"][stage]))


def size(nbytes: int) -> str:
    """Return ``4 KB`` or ``32 MB``."""
    return f"{nbytes // MB} MB" if nbytes >= MB else f"{nbytes // KB} KB"
