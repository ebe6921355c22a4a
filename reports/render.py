"""Put the page together: numbers from the other modules, pixels from the template."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from reports import cells as cells_module
from reports import charts, contrasts, memory, notes, paper, provenance, tables, verdict
from reports.cells import Cell
from reports.naming import Naming
from reports.records import Records
from reports.tidy import csv, tidy
from reports.words import count, listing, number, pairing_name, slug


def render(records: Records) -> tuple[str, str]:
    """Return the page and the CSV for these records: the same records, the same bytes."""
    frame = tidy(records.runs)
    cells = cells_module.build(records.plans, records.runs, frame)
    table = csv(frame)
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(mebibytes=memory.mebibytes, number=number)
    page = environment.get_template("report.html.j2").render(_page(records, cells, frame, table))
    return page, table


def _page(
    records: Records, cells: Sequence[Cell], frame: pd.DataFrame, table: str
) -> dict[str, Any]:
    models = [paper.model_name(model) for model in dict.fromkeys(cell.model for cell in cells)]
    names, facts = provenance.hosts(records.runs)
    naming = Naming.of(cells)
    used = [run for run, counts in zip(records.runs, frame["counted"], strict=True) if counts]
    counted = int(frame["counted"].sum())
    return {
        "models": listing(models),
        "when": provenance.when(frame),
        "summary": f"{count(counted, 'valid run')} of {count(len(frame), 'attempt')}",
        "notes": notes.notes(records, cells, frame),
        "groups": [_group(group, naming) for group in _groups(cells)],
        "unlocked": any(cell.unlocked for cell in cells),
        "code": provenance.code(records.plans),
        "settings": provenance.settings(cells, used),
        "options": provenance.options(cells),
        "conditions": provenance.conditions(cells, frame),
        "host_names": names,
        "host_facts": facts,
        "run_ids": provenance.run_ids(cells, frame),
        "stages": _stages(cells),
        "contrasts": contrasts.build(cells, frame, naming),
        "memory": [_memory(cell, naming) for cell in cells if memory.known(cell)],
        "excluded": _excluded(frame),
        "reasons": _reasons(frame),
        "files": records.files,
        "proof": notes.proof(frame),
        "repeats": sorted({split.runs for cell in cells for split in cell.measured}),
        "downloads": [
            (
                "paretopipe.csv",
                "text/csv",
                _embedded(table.encode()),
                "every attempt, one row each",
            ),
            *(_download(file.name, file.raw) for file in records.files),
        ],
    }


def _groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Gather the cells that differ in nothing but the network."""
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        key = (cell.model, cell.backend, cell.engine, cell.allocators, cell.pairing)
        groups.setdefault(key, []).append(cell)
    return [*groups.values()]


def _group(cells: Sequence[Cell], naming: Naming) -> dict[str, Any]:
    first = cells[0]
    return {
        "title": f"{paper.model_name(first.model)}, {pairing_name(first.pairing)}",
        "over": naming.over(first),
        "unlocked": any(cell.unlocked for cell in cells),
        "changes": verdict.scenarios(cells),
        "cells": [_cell(cell) for cell in cells],
    }


def _memory(cell: Cell, naming: Naming) -> dict[str, Any]:
    return {
        "title": f"{paper.model_name(cell.model)}, {pairing_name(cell.pairing)}, {cell.scenario}",
        "over": replace(naming, allocators=False).over(cell),  # that has a column of its own
        "whole": f"{paper.model_name(cell.model)}, {naming.place(cell)}",
        "unlocked": cell.unlocked,
        "worst": memory.worst(cell),
        "table": memory.build(cell),
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "slug": slug(cell.id),
        "scenario": cell.scenario,
        "asked": provenance.asked(cell.asked),
        "sentences": verdict.sentences(cell),
        "pareto": charts.pareto(cell) if cell.measured else "",
        "phases": charts.phases(cell) if cell.measured else "",
        "front": listing([split.name for split in cell.front]) if cell.measured else "",
        "measured": count(len(cell.measured), "split"),
        "table": tables.build(cell),
    }


def _stages(cells: Sequence[Cell]) -> list[tuple[str, int]]:
    """Return the legend of the breakdown: stage numbers with the palette's index."""
    depth = max((len(split.stages) for cell in cells for split in cell.measured), default=0)
    return [
        (f"stage {number}", charts.PALETTE.index(charts.stage_colour(number)))
        for number in range(1, depth + 1)
    ]


def _excluded(frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows = frame[~frame["counted"]]
    used = frame[frame["counted"]]
    good = set(zip(used["cell_id"], used["run_key"], strict=True))
    return [
        {
            **{str(key): value for key, value in row.items()},
            "message": "" if pd.isna(row["message"]) else row["message"],
            "again": "yes" if (row["cell_id"], row["run_key"]) in good else "no",
        }
        for row in rows.to_dict("records")
    ]


def _reasons(frame: pd.DataFrame) -> list[tuple[str, int]]:
    """Return each kind of exclusion with its number, most frequent first."""
    # The runtime's own reasons are codes; what this package adds explains itself after a colon.
    kinds = frame[~frame["counted"]]["excluded"].str.replace(
        r"^(settings|incomplete|superseded):.*", r"\1", regex=True
    )
    return [(str(kind), int(number)) for kind, number in kinds.value_counts().items()]


def _download(name: str, raw: bytes) -> tuple[str, str, str, str]:
    # A fixed time: gzip would otherwise write today's into the file.
    packed = gzip.compress(raw, mtime=0)
    what = f"the records as measured, {len(raw) / 1000:,.0f} kB unpacked"
    return (f"{name}.gz", "application/gzip", _embedded(packed), what)


def _embedded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
