"""Put the pages together: the sections' facts into the templates, and the index above them."""

from __future__ import annotations

import gc
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from jinja2 import Environment, PackageLoader, StrictUndefined

from reports import paper
from reports.data.records import Records
from reports.data.tidy import csv, tidy
from reports.page import index, memory, provenance, sections
from reports.page.sections import downloads
from reports.page.sheet import DELTA, Sheet
from reports.page.tally import tally
from reports.words import number, slug

INDEX, TABLE = "index.html", "runs.csv"
# A page that is mailed and opened on a phone: what does not fit lies beside it.
LIMIT = 395_000  # bytes


def pages(
    records: Records,
    delta: float = DELTA,
    processes: int = 1,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, str]:
    """Return every file of the report by its name: the same records, the same bytes.

    Parameters
    ----------
    records
        What a results folder holds.
    delta
        Two splits that differ by less, as a ratio, count as equal.
    processes
        How many pages may be made at the same time; what they say does not depend on it.
    tell
        Is told what is done, in a few words.
    """
    frame = tidy(records.runs)
    sheets = Sheet.each(records, delta, frame)
    names = file_names(sheets)
    jobs = {INDEX: partial(_index, sheets, names)}
    jobs |= {names[sheet.model]: partial(_page, sheet, len(sheets) > 1) for sheet in sheets}
    jobs[TABLE] = partial(csv, frame)
    models = {names[sheet.model]: paper.model_name(sheet.model) for sheet in sheets}
    found = {}
    for name, text in zip(jobs, _made([*jobs.values()], processes), strict=True):
        found[name] = text
        if name in models:
            tell(f"{models[name]}, page {len(found.keys() & models)} of {len(models)}")
    return found


def render(records: Records) -> tuple[str, str]:
    """Return the page and the table of the only model, or the first, that these records have."""
    sheet, *more = Sheet.each(records)
    return _page(sheet, bool(more)), sheet.csv


def file_names(sheets: Sequence[Sheet]) -> dict[str, str]:
    """Return the file of each model's page; no two the same, none the index."""
    found: dict[str, str] = {}
    taken = {INDEX}
    for sheet in sheets:
        stem = slug(sheet.model) or "model"
        tries = (stem, *(f"{stem}-{again}" for again in range(2, len(sheets) + 3)))
        # Some file systems do not tell capitals from small letters.
        name = next(f"{one}.html" for one in tries if f"{one}.html".lower() not in taken)
        taken.add(name.lower())
        found[sheet.model] = name
    return found


def environment() -> Environment:
    """Return the templates, with what they may call."""
    found = Environment(
        loader=PackageLoader("reports.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(mebibytes=memory.mebibytes, number=number)
    return found


_Job = Callable[[], str]
_jobs: Sequence[_Job] = ()  # of a forked process: inherited, not sent


def _made(jobs: Sequence[_Job], processes: int) -> Iterator[str]:
    # A fork shares the records and the imports; elsewhere starting costs more than it saves.
    if min(processes, len(jobs)) < 2 or sys.platform != "linux":
        return (job() for job in jobs)
    return _forked(jobs, processes)


def _forked(jobs: Sequence[_Job], processes: int) -> Iterator[str]:
    # Garbage is looked for in what a process makes itself; looking elsewhere would copy it.
    gc.freeze()
    try:
        with ProcessPoolExecutor(
            min(processes, len(jobs)),
            mp_context=multiprocessing.get_context("fork"),
            initializer=_inherit,
            initargs=(jobs,),
        ) as pool:
            yield from pool.map(_numbered, range(len(jobs)))
    finally:
        gc.unfreeze()


def _inherit(jobs: Sequence[_Job]) -> None:
    global _jobs
    _jobs = jobs


def _numbered(job: int) -> str:
    return _jobs[job]()


def _index(sheets: Sequence[Sheet], names: Mapping[str, str]) -> str:
    return index.page(environment(), sheets, names)


def _page(sheet: Sheet, several: bool) -> str:
    template = environment().get_template("report.html.j2")
    built = sections.build(sheet)
    context = {
        "models": paper.model_name(sheet.model),
        "when": provenance.when(sheet.frame),
        "summary": tally(sheet.frame),
        "index": INDEX if several else "",
    }
    room = LIMIT - len(template.render(**context, sections=built).encode())
    full = [
        downloads.embed(part, sheet, room) if part["id"] == "downloads" else part for part in built
    ]
    return template.render(**context, sections=full)
