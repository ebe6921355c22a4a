"""Sections of the benchmark's text: a function each, from rows to lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks.bars import Results, memory_ratio, size
from benchmarks.limits import (
    Link,
    Row,
    Spread,
    against,
    against_limit,
    allocator_of,
    backend_of,
    grouped,
    latency_ratio,
    limit_of,
    link_busy,
    makespan_ratio,
    of_part,
    resting_latency_ratio,
    throughput_ratio,
)
from paretopipe_runtime.contract.units import WIRE_PER_PAYLOAD


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a Markdown table, aligned in plain text, and an empty line."""
    body = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    for row in (list(head), ["-" * width for width in widths], *body):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "| " + " | ".join(cells) + " |"
    yield ""


def cell(spread: Spread | None, digits: int = 2, scale: float = 1.0) -> str:
    return spread.text(digits, scale) if spread else "–"


def transport(results: Results) -> Iterator[str]:
    for name, result in results.items():
        rows = of_part(result, "transport")
        if not rows:
            continue
        yield f"## Transport, {name}"
        yield ""
        yield "One way: from the call until a byte comes back. Stream: tensor after tensor; s/GB:"
        yield "processor seconds that the sending and the receiving process spent on a GB of it."
        yield from _tls(rows)
        yield ""
        by = grouped(rows, "nbytes", "method")
        lines = []
        for (nbytes, method), some in by.items():
            raw = by.get((nbytes, "raw/default"), [])
            lines.append(
                [
                    size(nbytes),
                    method,
                    cell(Spread.of(row["one_way_s"] for row in some), 3, 1e3),
                    cell(against(some, raw, "one_way_s")),
                    cell(Spread.of(row["bytes_s"] for row in some), 0, 1e-6),
                    cell(against(some, raw, "bytes_s")),
                    cell(_processor_s_gb(some, 0)),
                    cell(_processor_s_gb(some, 1)),
                    str(len(some)),
                ]
            )
        head = ["tensor", "method", "one way ms", "/ raw", "stream MB/s", "/ raw"]
        yield from table([*head, "sender s/GB", "receiver s/GB", "n"], lines)


def _tls(rows: Sequence[Row]) -> Iterator[str]:
    ciphers = sorted({row["cipher"] for row in rows if "cipher" in row})
    if ciphers:
        yield "`tls` is `ours` with `transport=tls`: over TLS 1.3, certificates shown by both ends;"
        yield f"encrypted with {' and '.join(ciphers)}."


def _processor_s_gb(rows: Sequence[Row], end: int) -> Spread | None:
    return Spread.of(
        row["processor_s"][end] / (row["bytes_s"] * row["stream_s"]) * 1e9
        for row in rows
        if "processor_s" in row
    )


def pipeline(result: dict[str, Any]) -> Iterator[str]:
    rows = of_part(result, "pipeline")
    if not rows:
        return
    link = Link.of(result)
    yield f"## Pipeline, {result['network']['name']}"
    yield ""
    yield "Latency with one batch in flight; images a second between completions. The limits are"
    yield "those of `benchmarks/limits.py`: `/ limit` with both cores busy, `/ resting` with one at"
    yield "rest; `whole run` is how much of the saturated phase, filling included, they explain."
    yield ""
    lines = []
    for (model, split, variant), some in grouped(rows, "model", "split", "variant").items():

        def ratio(of: Any, some: list[Row] = some) -> str:
            return cell(against_limit(some, rows, link, of), 3)

        alone = backend_of(variant) == "alone"
        lines.append(
            [
                f"{model} {split}",
                variant,
                cell(Spread.of(row["latency_s"] for row in some), 1, 1e3),
                "" if alone else ratio(latency_ratio),
                "" if alone else ratio(resting_latency_ratio),
                cell(Spread.of(row["steady_img_s"] for row in some), 1),
                "" if alone else ratio(throughput_ratio),
                "" if alone else ratio(makespan_ratio),
                str(len(some)),
            ]
        )
    head = ["split", "variant", "latency ms", "/ limit", "/ resting", "img/s", "/ limit"]
    yield from table([*head, "whole run", "n"], lines)
    yield from _what_limits(rows, link)
    if link.delay_s:
        yield from _transfers(rows, link)


def _what_limits(rows: Sequence[Row], link: Link) -> Iterator[str]:
    lines = []
    for (model, split), some in grouped(rows, "model", "split").items():
        limits = [limit_of(row, rows, link) for row in some if row["variant"] == "socket"]
        known = [limit for limit in limits if limit]
        lines.append(
            [
                f"{model} {split}",
                f"{some[0]['hop_bytes'] / 1e6:.2f}",
                cell(Spread.of(limit.t1 for limit in known), 1, 1e3),
                cell(Spread.of(limit.wire for limit in known), 1, 1e3),
                cell(Spread.of(limit.t2 for limit in known), 1, 1e3),
            ]
        )
    yield "What the limit consists of (tuned):"
    yield ""
    yield from table(["split", "payload MB", "t1 ms", "wire ms", "t2 ms"], lines)


def _transfers(rows: Sequence[Row], link: Link) -> Iterator[str]:
    yield f"Transfers: theory is payload x 8 x {WIRE_PER_PAYLOAD:.4f} / rate + one-way delay;"
    yield "measured is latency less both stages' compute."
    yield ""
    lines = []
    for (model, split, variant), some in grouped(rows, "model", "split", "variant").items():
        if backend_of(variant) == "alone":
            continue
        theory_s = link.wire_s(some[0]["hop_bytes"]) + link.delay_s
        lines.append(
            [
                f"{model} {split}",
                variant,
                f"{theory_s:.3f}",
                cell(Spread.of(row["network_s"] for row in some), 3),
                cell(Spread.of(row["network_s"] / theory_s for row in some), 3),
                cell(Spread.of(link_busy(row, link) for row in some), 3),
                str(len(some)),
            ]
        )
    head = ["split", "variant", "theory s", "measured s", "/ theory", "link busy", "n"]
    yield from table(head, lines)


def paper(results: Results) -> Iterator[str]:
    yield "## Beside the method of the paper's code"
    yield ""
    yield "Each backend / `pickle/default` of the same round: pickled tensors over a blocking"
    yield "socket, `data += more`, one thread, glibc's default allocator."
    yield ""
    lines = []
    for name, result in results.items():
        rows = of_part(result, "pipeline")
        by = grouped(rows, "model", "split", "variant")
        for (model, split, variant), some in by.items():
            theirs = by.get((model, split, "pickle/default"))
            if not theirs or backend_of(variant) == "alone" or variant == "pickle/default":
                continue
            lines.append(
                [
                    name,
                    f"{model} {split}",
                    variant,
                    cell(against(some, theirs, "latency_s")),
                    cell(against(some, theirs, "steady_img_s")),
                ]
            )
    yield from table(["network", "split", "variant", "latency", "throughput"], lines)


def engines(results: Results) -> Iterator[str]:
    for name, result in results.items():
        rows = of_part(result, "engines")
        if not rows:
            continue
        yield f"## Stage engines, {name}"
        yield ""
        yield "Compute time a batch with the tuned allocator, one stage at a time; speed-up is"
        yield "eager's / the engine's, both stages together. Memory is the larger stage's peak."
        yield ""
        by = grouped(rows, "model", "split", "engine")
        lines = []
        for (model, split, engine), some in by.items():
            eager = by.get((model, split, "eager"), [])
            sums = [{**row, "both": sum(_stage_times(row))} for row in some]
            eager_sums = [{**row, "both": sum(_stage_times(row))} for row in eager]
            lines.append(
                [
                    f"{model} {split}",
                    engine,
                    cell(Spread.of(_stage_times(row)[0] for row in some), 1, 1e3),
                    cell(Spread.of(_stage_times(row)[1] for row in some), 1, 1e3),
                    cell(against(eager_sums, sums, "both")),
                    cell(Spread.of(max(row["peak_rss"]) for row in some), 0, 1e-6),
                    f"{max(row['max_rel_err'] for row in some):.0e}",
                    f"{max(sum(row['load_s']) for row in some):.2f}",
                    str(len(some)),
                ]
            )
        head = ["split", "engine", "stage 1 ms", "stage 2 ms", "speed-up", "peak MB", "error"]
        yield from table([*head, "longest load s", "n"], lines)


def launch(results: Results) -> Iterator[str]:
    yield "## A launch"
    yield ""
    yield "From the order to two ready stages: fresh processes, weights, connections."
    yield ""
    lines = []
    for name, result in results.items():
        rows = of_part(result, "pipeline")
        for (variant,), some in grouped(rows, "variant").items():
            if backend_of(variant) in {"socket", "rpc", "rpc_hub"}:
                seen = Spread.of(row["launch_s"] for row in some)
                lines.append([name, variant, cell(seen, 3), str(len(some))])
    yield from table(["network", "variant", "launch s", "n"], lines)


def memory(results: Results) -> Iterator[str]:
    for result in results.values():
        rows = of_part(result, "memory")
        if not rows:
            continue
        yield "## Memory of a stage"
        yield ""
        yield "Peak resident memory against weights + two largest activations + empty process, MB."
        yield ""
        lines = []
        for (model, split, variant), some in grouped(rows, "model", "split", "variant").items():
            for stage in range(len(some[0]["peak_rss"])):
                parts = ("partition_bytes", "two_activations", "baseline_rss")
                lines.append(
                    [
                        f"{model} {split} stage {stage + 1}",
                        allocator_of(variant),
                        *(f"{some[0][part][stage] / 1e6:.0f}" for part in parts),
                        cell(Spread.of(row["peak_rss"][stage] for row in some), 0, 1e-6),
                        cell(Spread.of(memory_ratio(row, stage) for row in some)),
                    ]
                )
        head = ["stage", "allocator", "weights", "activations", "empty", "peak", "peak / sum"]
        yield from table(head, lines)


def _stage_times(row: Row) -> list[float]:
    return [stage["latency"] for stage in row["compute_s"]]
