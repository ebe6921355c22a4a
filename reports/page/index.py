"""The index: a page above the models' own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import pandas as pd
from jinja2 import Environment
from markupsafe import Markup, escape

from paretopipe_runtime.contract.factors import Variant
from reports import paper
from reports.data.cells import Cell, Cuts
from reports.data.factors import Naming, place_name
from reports.objectives import OBJECTIVES, Objective
from reports.page.draw import multiples
from reports.page.figures import attempts
from reports.page.sections import against, models, provenance
from reports.page.sections.verdict import decision, splitting
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
from reports.statistics.decision import Decision
from reports.words import asked, count, listing, number, percent, slug


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
        "believed": any(cell.standing for cell in cells),
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
        "picks": [
            (sheet.naming.place(cell), _elsewhere(decision.pick(cell, answer), file))
            for cell in done
            if (answer := sheet.decisions[cell.id])
        ],
    }


def _elsewhere(text: Markup, file: str) -> Markup:
    """Let links into a model's page start from here."""
    there = str(text).replace('href="#', f'href="{escape(file)}#')
    return Markup(there)  # nosec B704 # as escaped as it was


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
        "title": f"{first.over_hosts}, {first.scenario}",
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
            tuple(
                _row(sheet, cell, answer, objectives, files[sheet.model])
                for sheet, cell in ready
                if (answer := sheet.decisions[cell.id])
            ),
        ),
        "lacking": _lacking(cells, sheets),
        "sizes": _sizes([cell for _, cell in ready]),
    }


def _columns(objectives: Sequence[Objective]) -> tuple[Column, ...]:
    return (
        Column("Model", ""),
        Column("Parameters", ""),
        Column("Pick", "split", numeric=False),
        Column("Behind the best", "expected, worse goal"),
        *chain.from_iterable(
            (Column(one.title, "split", numeric=False), objective_column(one)) for one in objectives
        ),
        Column("Does splitting pay?", "", numeric=False),
    )


def _row(
    sheet: Sheet, cell: Cell, answer: Decision, objectives: Sequence[Objective], file: str
) -> Row:
    parameters = models.parameters(sheet)
    return Row(
        id=f"model-{slug(cell.id)}",
        name=Markup('<a href="{}">{}</a>').format(file, paper.model_name(cell.model)),
        entries=(
            plain(f"{parameters:,}") if parameters else NOTHING,
            _split(cell, answer.both.pick, file),
            Entry(percent(answer.both.expected), f"{answer.both.expected:.6g}"),
            *chain.from_iterable(_best(cell, one, answer, file) for one in objectives),
            _text(splitting.short(cell, sheet.contests[cell.id], answer)),
        ),
    )


def _best(cell: Cell, objective: Objective, answer: Decision, file: str) -> tuple[Entry, Entry]:
    if objective not in cell.objectives:
        return NOTHING, NOTHING
    pick = answer.of(objective).pick
    value = next(split for split in cell.known if split.cuts == pick).median(objective)
    return _split(cell, pick, file), Entry(number(value), f"{value:.6g}")


def _split(cell: Cell, cuts: Cuts, file: str) -> Entry:
    split = next(split for split in cell.known if split.cuts == cuts)
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
