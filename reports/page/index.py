"""The index: a page above the models' own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import pandas as pd
from jinja2 import Environment
from markupsafe import Markup

from paretopipe_runtime.contract.factors import Variant
from reports import paper
from reports.data.cells import Cell, Split
from reports.data.factors import Naming, place_name
from reports.objectives import OBJECTIVES, Objective
from reports.page.draw import multiples
from reports.page.figures import attempts
from reports.page.sections import against, models, provenance
from reports.page.sections.verdict import splitting
from reports.page.sections.verdict.answer import compromise
from reports.page.sheet import Sheet
from reports.page.tables import (
    NOTHING,
    Column,
    Entry,
    Row,
    Table,
    by_place,
    objective_column,
    plain,
)
from reports.words import asked, count, listing, number, pairing_name, slug


def page(templates: Environment, sheets: Sequence[Sheet], files: Mapping[str, str]) -> str:
    """Return the index as HTML; `files` has the page of each model."""
    cells = [cell for sheet in sheets for cell in sheet.cells]
    lines = ["started_at", "counted", "excluded"]
    frame = pd.concat([sheet.frame[lines] for sheet in sheets]) if sheets else None
    naming = Naming.of(cells)
    context = {
        "models": [_model(sheet, files[sheet.model]) for sheet in sheets],
        "names": listing([paper.model_name(sheet.model) for sheet in sheets]) if sheets else "",
        "emulated": provenance.emulated(cells),
        "when": provenance.when(frame) if frame is not None else "nothing yet",
        "summary": attempts(frame) if frame is not None else "No cell is planned yet",
        "places": _places(sheets, files, naming) if len(sheets) > 1 else [],
        "legend": multiples.legend([paper.model_name(sheet.model) for sheet in sheets]),
    }
    return templates.get_template("index.html.j2").render(**context)


def _model(sheet: Sheet, file: str) -> dict[str, Any]:
    done = [cell for cell in sheet.cells if cell.measured]
    counted = int(sheet.frame["counted"].sum())
    lacking = [sheet.naming.place(cell) for cell in sheet.cells if not cell.measured]
    return {
        "name": paper.model_name(sheet.model),
        "file": file,
        "said": f"{count(len(done), 'cell')}, {count(counted, 'valid run')}",
        "against": sheet.against and sheet.against.name,
        "changes": sheet.against and against.headline(sheet, sheet.against),
        "lacking": listing(lacking) if lacking else "",
    }


def _places(
    sheets: Sequence[Sheet], files: Mapping[str, str], naming: Naming
) -> list[dict[str, Any]]:
    found: dict[tuple[Variant, str, str], dict[str, Cell]] = {}
    for sheet in sheets:
        for cell in sheet.cells:
            place = cell.variant, cell.pairing, cell.scenario
            found.setdefault(place, {})[sheet.model] = cell
    ranked = sorted(found.values(), key=lambda cells: next(iter(cells.values())).rank)
    return [_place(cells, sheets, files, naming) for cells in ranked]


def _place(
    cells: Mapping[str, Cell], sheets: Sequence[Sheet], files: Mapping[str, str], naming: Naming
) -> dict[str, Any]:
    first = next(iter(cells.values()))
    ready = [
        (sheet, cells[sheet.model])
        for sheet in sheets
        if sheet.model in cells and cells[sheet.model].measured
    ]
    known = {objective for sheet in sheets for objective in sheet.objectives}
    objectives = [objective for objective in OBJECTIVES if objective in known]
    key = slug(f"{place_name(first)}.{first.pairing}")
    networks = dict.fromkeys(asked(cell.asked) for cell in cells.values())
    # A model keeps its colour and shape whichever models a chart shows.
    order = {sheet.model: place for place, sheet in enumerate(sheets)}
    return {
        "id": f"place-{key}-{slug(first.scenario)}",
        "title": f"{pairing_name(first.pairing)}, {first.scenario}",
        "over": naming.over(first),
        "unlocked": any(cell.unlocked for cell in cells.values()),
        "asked": "; ".join(networks),
        "chart": multiples.fronts(
            f"{key}-{first.scenario}",
            [
                (
                    order[sheet.model],
                    paper.model_name(sheet.model),
                    sheet.judgements[cell.id].front(cell),
                    files[sheet.model],
                )
                for sheet, cell in ready
            ],
        )
        if ready
        else "",
        "table": Table(
            _columns(objectives),
            tuple(_row(sheet, cell, objectives, files[sheet.model]) for sheet, cell in ready),
        ),
        "lacking": _lacking(cells, sheets),
        "sizes": _sizes([cell for _, cell in ready]),
    }


def _columns(objectives: Sequence[Objective]) -> tuple[Column, ...]:
    return (
        Column("Model", ""),
        Column("Parameters", ""),
        *chain.from_iterable(
            (Column(one.title, "split", numeric=False), objective_column(one)) for one in objectives
        ),
        Column("Balanced", "split", numeric=False),
        Column("Does splitting pay?", "", numeric=False),
    )


def _row(sheet: Sheet, cell: Cell, objectives: Sequence[Objective], file: str) -> Row:
    parameters = models.parameters(sheet)
    return Row(
        id=f"model-{slug(cell.id)}",
        name=Markup('<a href="{}">{}</a>').format(file, paper.model_name(cell.model)),
        entries=(
            plain(f"{parameters:,}") if parameters else NOTHING,
            *chain.from_iterable(_best(cell, one, file) for one in objectives),
            _split(compromise(cell), file),
            _text(splitting.short(cell, sheet.contests[cell.id])),
        ),
    )


def _best(cell: Cell, objective: Objective, file: str) -> tuple[Entry, Entry]:
    if objective not in cell.objectives:
        return NOTHING, NOTHING
    best = cell.best(objective)
    value = best.median(objective)
    return _split(best, file), Entry(number(value), f"{value:.6g}")


def _split(split: Split, file: str) -> Entry:
    text = Markup('<a href="{}#{}">{}</a>').format(file, split.row_id, split.name)
    return Entry(text, by_place(split.cuts))


def _text(text: str) -> Entry:
    return Entry(text, text)


def _lacking(cells: Mapping[str, Cell], sheets: Sequence[Sheet]) -> list[str]:
    """Say which models the fronts' chart lacks, and why."""
    absent = [paper.model_name(sheet.model) for sheet in sheets if sheet.model not in cells]
    unmeasured = [paper.model_name(model) for model, cell in cells.items() if not cell.measured]
    lines = []
    if absent:
        lines.append(f"No records of {listing(absent)} here.")
    if unmeasured:
        lines.append(f"Planned, but no split has a valid run yet: {listing(unmeasured)}.")
    return lines


def _sizes(cells: Sequence[Cell]) -> str:
    """Say how the models' inputs differ; empty where all are the paper's."""
    lines = []
    for cell in cells:
        if sizes := paper.other_sizes(cell.model, {**cell.plan, **cell.settings}):
            parts = " and ".join(ours for ours, _ in sizes)
            lines.append(f"{paper.model_name(cell.model)} with {parts}")
    return f"Not with the paper's sizes: {listing(lines)}." if lines else ""
