"""Render the measured JSON as text: medians with range, limits and verdicts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.bars import bars
from benchmarks.limits import (
    PAPER,
    Result,
    Results,
    Row,
    Spread,
    backend_of,
    chosen,
    counted,
    grouped,
)
from paretopipe_runtime.contract.units import WIRE_PER_PAYLOAD
from paretopipe_runtime.errors import ParetoPipeError

SCHEMA_VERSION = 1
CASE = {"split": "case", "variant": "variant"}


class Figure(NamedTuple):
    """A column of a table: a field's spread over its runs, or only the largest value."""

    heading: str
    field: str
    form: str = ".2f"
    scale: float = 1.0
    largest: bool = False

    def cell(self, rows: Sequence[Row]) -> str:
        spread = Spread.of(rows, self.field)
        if spread is None:
            return "" if backend_of(rows[0].get("variant", "")) == "alone" else "–"
        if self.largest:
            return f"{spread.high * self.scale:{self.form}}"
        return spread.text(self.form, self.scale)


def write(paths: Sequence[Path], folder: Path) -> None:
    """Write ``results.md`` and ``results.json`` into `folder` from the networks' result files.

    Raises ``E_SCHEMA`` for a file of another version, ``E_RESULT`` for an unreadable one.
    """
    results = {result["network"]["name"]: result for result in map(_read, paths)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text("\n".join(text(results)).rstrip() + "\n")
    (folder / "results.json").write_text(_compact(results))


def _read(path: Path) -> Result:
    try:
        result: Result = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ParetoPipeError("E_RESULT", f"cannot read {path}: {error}") from error
    if result["schema_version"] != SCHEMA_VERSION:
        raise ParetoPipeError(
            "E_SCHEMA",
            f"{path} is of schema {result['schema_version']}, this reads {SCHEMA_VERSION} — "
            "measure again with `make bench`",
        )
    return result


def _compact(results: Results) -> str:
    """Return JSON with one row per line, for readable diffs."""
    lines = []
    for name, result in results.items():
        rows = ",\n".join(json.dumps(row) for row in result["rows"])
        head = json.dumps({key: value for key, value in result.items() if key != "rows"})
        lines.append(f'{json.dumps(name)}: {head[:-1]}, "rows": [\n{rows}\n]}}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def text(results: Results) -> Iterator[str]:
    rows = counted(results)
    yield from ("# Benchmark results", "")
    yield from ("Written by `make bench` from `results.json`; do not edit.", "")
    yield from _provenance(results)
    yield from _bars(rows)
    for (network,), some in grouped(chosen(rows, part="transport"), "network"):
        yield from _transport(network, some)
    runs = chosen(rows, part="pipeline")
    for (network,), some in grouped(runs, "network"):
        yield from _pipeline(network, some)
    yield from _paper(runs)
    for (network,), some in grouped(chosen(rows, part="engines"), "network"):
        yield from _engines(network, some)
    yield from _launch(runs)
    if stages := chosen(rows, part="memory"):
        yield from _memory(stages)
    notes = [f"- {name}: {note}" for name, result in results.items() for note in result["notes"]]
    if notes:
        yield from _section("What could not be measured", *notes)


def _section(title: str, *lines: str) -> Iterator[str]:
    yield from (f"## {title}", "", *lines, "")


def _table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield a Markdown table, aligned in plain text, and an empty line."""
    body = [[str(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    for line in (head, ["-" * width for width in widths], *body):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "| " + " | ".join(cells) + " |"
    yield ""


def _figures(
    rows: Sequence[Row], names: dict[str, str], *figures: Figure, count: bool = True
) -> Iterator[str]:
    """Yield a table of figures, with a line for all rows that have the fields `names` in common."""
    head = [*names, *(figure.heading for figure in figures), *(["n"] if count else [])]
    lines = [
        [*alike, *(figure.cell(some) for figure in figures), *([len(some)] if count else [])]
        for alike, some in grouped(rows, *names.values())
    ]
    yield from _table(head, lines)


def _provenance(results: Results) -> Iterator[str]:
    first = next(iter(results.values()))
    commit = first["provenance"].get("commit", "unknown")
    dirty = ", with uncommitted changes" if first["provenance"].get("dirty") else ""
    when = min(result["measured_at"] for result in results.values())
    yield f"Measured {when}; commit {commit[:12]}{dirty}; runtime {first['runtime']};"
    yield f"batch {first['batch_size']}; {first['window']} batches in flight when saturated, more"
    yield "where a long link asks for them."
    if any(result.get("quick") for result in results.values()):
        yield ""
        yield "**A quick run: one round on small images. Nothing here is a result.**"
    yield ""
    hosts = {name: host for result in results.values() for name, host in result["hosts"].items()}
    yield from _table(
        ["host", "what it is", "processor", "system", "torch"],
        (
            [
                name,
                host.get("deployment") or "a machine of its own",
                f"{host['cpu_model']}, {host['cpu_affinity']} of {host['cpu_count']} used",
                f"Linux {host['kernel']}, {host.get('libc')}, {host['congestion_control']}",
                host["torch"],
            ]
            for name, host in hosts.items()
        ),
    )
    yield from _table(
        ["network", "from → to", "what it is", "measured for"],
        (
            [
                name,
                " → ".join(result["workers"]),
                result["network"].get("about") or "as it is",
                f"{result['wall_s'] / 60:.1f} min",
            ]
            for name, result in results.items()
        ),
    )
    yield "Every figure is a median (least–most) over rounds. Ratios are taken within a round."
    yield "Every run is proved: its predictions equal the unsplit model's. `tuned` and `default`"
    yield "name the allocator; without a word it is the tuned one."
    yield ""


def _bars(rows: Sequence[Row]) -> Iterator[str]:
    yield from _section("The bars", "A tie: the median is behind, but not every round is.")
    lines = []
    for bar in bars(rows):
        seen = (bar.seen.text(".3f"), bar.seen.n) if bar.seen else ("–", 0)
        lines.append([bar.number, bar.what, bar.wanted, *seen, bar.verdict])
    yield from _table(["", "what", "wanted", "measured", "n", "verdict"], lines)


def _transport(network: str, rows: Sequence[Row]) -> Iterator[str]:
    yield from _section(
        f"Transport, {network}",
        "One way: from the call until a byte comes back. Stream: tensor after tensor; s/GB:",
        "processor seconds that the sending and the receiving process spent on a GB of it.",
        *_tls(rows),
    )
    yield from _figures(
        rows,
        {"tensor": "case", "method": "method"},
        Figure("one way ms", "one_way_s", ".3f", 1e3),
        Figure("/ raw", "one_way / raw"),
        Figure("stream MB/s", "bytes_s", ".0f", 1e-6),
        Figure("/ raw", "bytes / raw"),
        Figure("sender s/GB", "sender_s_gb"),
        Figure("receiver s/GB", "receiver_s_gb"),
    )


def _tls(rows: Sequence[Row]) -> Iterator[str]:
    ciphers = sorted({row["cipher"] for row in rows if "cipher" in row})
    if ciphers:
        yield "`tls` is `ours` with `transport=tls`: over TLS 1.3, certificates shown by both ends;"
        yield f"encrypted with {' and '.join(ciphers)}."


def _pipeline(network: str, rows: Sequence[Row]) -> Iterator[str]:
    yield from _section(
        f"Pipeline, {network}",
        "Latency with one batch in flight; images a second between completions. The limits are",
        "those of `benchmarks/limits.py`: `/ limit` with both cores busy, `/ resting` with one at",
        "rest, `/ own` with the run's own stage times, which a busy host or an arriving tensor may",
        "have slowed; `whole run` is how much of the saturated phase, filling included, they",
        "explain.",
    )
    yield from _figures(
        rows,
        CASE,
        Figure("latency ms", "latency_s", ".1f", 1e3),
        Figure("/ limit", "latency / limit", ".3f"),
        Figure("/ resting", "latency / resting", ".3f"),
        Figure("img/s", "steady_img_s", ".1f"),
        Figure("/ limit", "img_s / limit", ".3f"),
        Figure("/ own", "img_s / own", ".3f"),
        Figure("whole run", "whole", ".3f"),
    )
    yield from ("What the limit consists of (tuned):", "")
    yield from _figures(
        chosen(rows, variant="socket"),
        {"split": "case"},
        Figure("payload MB", "hop_bytes", ".2f", 1e-6, largest=True),
        Figure("t1 ms", "t1", ".1f", 1e3),
        Figure("sends ms", "sends", ".1f", 1e3),
        Figure("wire ms", "wire", ".1f", 1e3),
        Figure("receives ms", "receives", ".1f", 1e3),
        Figure("t2 ms", "t2", ".1f", 1e3),
        count=False,
    )
    if "theory_s" not in rows[0]:
        return
    yield f"Transfers: theory is payload x 8 x {WIRE_PER_PAYLOAD:.4f} / rate + one-way delay;"
    yield "measured is latency less both stages' compute."
    yield ""
    yield from _figures(
        [row for row in rows if backend_of(row["variant"]) != "alone"],
        CASE,
        Figure("theory s", "theory_s", ".3f", largest=True),
        Figure("measured s", "network_s", ".3f"),
        Figure("/ theory", "transfer / theory", ".3f"),
        Figure("link busy", "link_busy", ".3f"),
    )


def _paper(rows: Sequence[Row]) -> Iterator[str]:
    yield from _section(
        "Beside the method of the paper's code",
        "Each backend / `pickle/default` of the same round: pickled tensors over a blocking",
        "socket, `data += more`, one thread, glibc's default allocator.",
    )
    yield from _figures(
        [row for row in rows if row.get("latency / paper") and row["variant"] != PAPER],
        {"network": "network", **CASE},
        Figure("latency", "latency / paper"),
        Figure("throughput", "img_s / paper"),
        count=False,
    )


def _engines(network: str, rows: Sequence[Row]) -> Iterator[str]:
    yield from _section(
        f"Stage engines, {network}",
        "Compute time a batch with the tuned allocator, one stage at a time; speed-up is",
        "eager's / the engine's, both stages together. Memory is the larger stage's peak.",
    )
    yield from _figures(
        rows,
        {"split": "case", "engine": "engine"},
        Figure("stage 1 ms", "one_s", ".1f", 1e3),
        Figure("stage 2 ms", "two_s", ".1f", 1e3),
        Figure("speed-up", "speed_up"),
        Figure("peak MB", "largest_rss", ".0f", 1e-6),
        Figure("error", "max_rel_err", ".0e", largest=True),
        Figure("longest load s", "loads_s", largest=True),
    )


def _launch(rows: Sequence[Row]) -> Iterator[str]:
    yield from _section(
        "A launch", "From the order to two ready stages: fresh processes, weights, connections."
    )
    yield from _figures(
        [row for row in rows if backend_of(row["variant"]) in {"socket", "rpc", "rpc_hub"}],
        {"network": "network", "variant": "variant"},
        Figure("launch s", "launch_s", ".3f"),
    )


def _memory(rows: Sequence[Row]) -> Iterator[str]:
    yield from _section(
        "Memory of a stage",
        "Peak resident memory against weights + two largest activations + empty process, MB.",
    )
    yield from _figures(
        rows,
        {"stage": "case", "allocator": "allocator"},
        Figure("weights", "partition_bytes", ".0f", 1e-6, largest=True),
        Figure("activations", "two_activations", ".0f", 1e-6, largest=True),
        Figure("empty", "baseline_rss", ".0f", 1e-6, largest=True),
        Figure("peak", "peak_rss", ".0f", 1e-6),
        Figure("peak / sum", "peak / sum"),
        count=False,
    )
