"""Render the measured JSON as text: medians with range, limits and verdicts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import sections
from benchmarks.bars import Bar, Results, bars
from benchmarks.sections import cell, table
from paretopipe_runtime.errors import ParetoPipeError

SCHEMA_VERSION = 1


def write(paths: Sequence[Path], folder: Path) -> None:
    """Write ``results.md`` and ``results.json`` into `folder` from the networks' result files.

    Raises
    ------
    ParetoPipeError
        ``E_SCHEMA`` for a file of another version, ``E_RESULT`` for an unreadable one.
    """
    results: Results = {}
    for path in paths:
        result = _read(path)
        results[result["network"]["name"]] = result
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text("\n".join(text(results)).rstrip() + "\n")
    (folder / "results.json").write_text(_compact(results))


def text(results: Results) -> Iterator[str]:
    yield "# Benchmark results"
    yield ""
    yield "Written by `make bench` from `results.json`; do not edit."
    yield ""
    yield from _provenance(results)
    yield from _bars(bars(results))
    yield from sections.transport(results)
    for result in results.values():
        yield from sections.pipeline(result)
    yield from sections.paper(results)
    yield from sections.engines(results)
    yield from sections.launch(results)
    yield from sections.memory(results)
    yield from _notes(results)


def _provenance(results: Results) -> Iterator[str]:
    first = next(iter(results.values()))
    commit = first["provenance"].get("commit", "unknown")
    dirty = ", with uncommitted changes" if first["provenance"].get("dirty") else ""
    when = min(result["measured_at"] for result in results.values())
    yield f"Measured {when}; commit {commit[:12]}{dirty}; runtime {first['runtime']};"
    yield f"batch {first['batch_size']}, {first['window']} batches in flight when saturated."
    if any(result.get("quick") for result in results.values()):
        yield ""
        yield "**A quick run: one round on small images. Nothing here is a result.**"
    yield ""
    hosts: dict[str, Any] = {}
    for result in results.values():
        hosts.update(result["hosts"])
    yield from table(
        ["host", "what it is", "processor", "system", "torch"],
        (
            [
                name,
                host.get("deployment") or "a machine of its own",
                f"{host['cpu_model']}, {host['cpu_affinity']} of {host['cpu_count']} used",
                f"Linux {host['kernel']}, {host.get('libc')}, {host['congestion_control']}",
                str(host["torch"]),
            ]
            for name, host in hosts.items()
        ),
    )
    yield from table(
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


def _bars(judged: Sequence[Bar]) -> Iterator[str]:
    yield "## The bars"
    yield ""
    yield "A tie: the median is behind, but not every round is."
    yield ""
    yield from table(
        ["", "what", "wanted", "measured", "n", "verdict"],
        (
            [
                str(bar.number),
                bar.what,
                bar.wanted,
                cell(bar.seen, 3),
                str(bar.seen.n if bar.seen else 0),
                bar.verdict,
            ]
            for bar in judged
        ),
    )


def _notes(results: Results) -> Iterator[str]:
    notes = [f"- {name}: {note}" for name, result in results.items() for note in result["notes"]]
    if notes:
        yield "## What could not be measured"
        yield ""
        yield from notes


def _read(path: Path) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ParetoPipeError("E_RESULT", f"cannot read {path}: {error}") from error
    if result["schema_version"] != SCHEMA_VERSION:
        raise ParetoPipeError(
            "E_SCHEMA",
            f"{path} is of schema {result['schema_version']}, this reads {SCHEMA_VERSION} — "
            "measure again with `make bench`",
        )
    return dict(result)


def _compact(results: Results) -> str:
    """Return JSON with one row per line, for readable diffs."""
    lines = []
    for name, result in results.items():
        rows = ",\n".join(json.dumps(row) for row in result["rows"])
        head = json.dumps({key: value for key, value in result.items() if key != "rows"})
        lines.append(f'{json.dumps(name)}: {head[:-1]}, "rows": [\n{rows}\n]}}')
    return "{\n" + ",\n".join(lines) + "\n}\n"
