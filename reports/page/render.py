"""Make every file of the report from sections and templates."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from operator import call

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from paretopipe_runtime.contract.accuracy import MARGIN
from reports import console, latex, paper
from reports.data.records import Records
from reports.data.tidy import csv, tidy
from reports.objectives import DELTA
from reports.page import index, sections
from reports.page.figures import attempts, mebibytes
from reports.page.sections import against, downloads, provenance
from reports.page.sheet import Section, Sheet
from reports.parallel import map_forked
from reports.words import number, slug

INDEX, TABLE, PAPER, VERDICT = "index.html", "runs.csv", "paper", "verdict.txt"
# Small enough to mail and to open on a phone; further data lies beside the page.
LIMIT = 389_000  # bytes
# Templates are indented for those who read them: some thousand bytes of a page.
_INDENTED = re.compile(r"\n +(?=<)")


def pages(
    records: Records,
    delta: float = DELTA,
    processes: int = 1,
    tell: Callable[[str], None] = lambda _: None,
    goal: str = "",
    other: Records | None = None,
    for_paper: bool = False,
    accuracy_margin: float = MARGIN,
) -> dict[str, str | bytes]:
    """Return the report's files by name: equal records, equal bytes.

    Splits that differ by less than the ratio `delta` count as equal. `processes` pages are made
    in parallel; `tell` hears of progress. `goal` is as ``contract.goals.parse`` takes it. The pages
    say what changed against the `other` sweep; `for_paper` adds LaTeX tables and PDF figures. A
    loss of `accuracy_margin` points does not matter.

    Raises
    ------
    ReportError
        If nothing can be compared with the `other` sweep.
    """
    frame = tidy(records.runs)
    sheets = Sheet.each(records, delta, frame, processes, goal, accuracy_margin)
    if other:
        others = Sheet.each(other, delta, processes=processes, accuracy_margin=accuracy_margin)
        sheets = against.beside(sheets, others, (records.name, other.name))
    names = file_names(sheets)
    jobs: dict[str, Callable[[], str]] = {
        names[sheet.model]: partial(_page, sheet, len(sheets) > 1)
        for sheet in sorted(sheets, key=_length, reverse=True)
    }
    jobs[INDEX] = partial(index.page, environment(), sheets, names)
    models = {names[sheet.model]: paper.model_name(sheet.model) for sheet in sheets}
    found: dict[str, str | bytes] = {VERDICT: console.text(sheets)}

    def table() -> None:  # here: sending it from another process takes thrice its size
        found[TABLE] = csv(frame)

    made = map_forked(call, [*jobs.values()], processes, meanwhile=table)
    for name, text in zip(jobs, made, strict=True):
        found[name] = text
        if name in models:
            tell(f"{models[name]}, page {len(found.keys() & models.keys())} of {len(models)}")
    if for_paper:
        found |= {f"{PAPER}/{name}": made for name, made in latex.files(sheets).items()}
    return found


def _length(sheet: Sheet) -> int:
    """Estimate a page's cost: the longest starts first."""
    return sum(len(cell.splits) for cell in sheet.cells)


def file_names(sheets: Sequence[Sheet]) -> dict[str, str]:
    """Name each model's page: unique, and never the index."""
    found: dict[str, str] = {}
    taken = {INDEX}
    for sheet in sheets:
        stem = slug(sheet.model) or "model"
        tries = (stem, *(f"{stem}-{again}" for again in range(2, len(sheets) + 3)))
        # Some file systems ignore case.
        name = next(f"{one}.html" for one in tries if f"{one}.html".lower() not in taken)
        taken.add(name.lower())
        found[sheet.model] = name
    return found


@cache
def environment() -> Environment:
    """Return the templates with their filters and globals, compiled ones cached."""
    found = Environment(
        loader=PackageLoader("reports.page", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":")}
    found.filters.update(mebibytes=mebibytes, number=number, plain=_plain)
    return found


def _plain(script: Markup) -> Markup:
    """Return a script or a style without indentation and lines of comments: a fifth of it."""
    lines = (line.strip() for line in script.splitlines())
    return Markup("\n").join(line for line in lines if line and not line.startswith("//"))


def _page(sheet: Sheet, several: bool) -> str:
    template = environment().get_template("report.html.j2")
    built = sections.build(sheet)
    context = {
        "models": paper.model_name(sheet.model),
        "emulated": provenance.emulated(sheet.cells),
        "when": provenance.when(sheet.frame),
        "summary": attempts(sheet.frame),
        "index": INDEX if several else "",
    }

    def rendered(parts: Sequence[Section]) -> str:
        return _INDENTED.sub("\n", template.render(**context, sections=parts))

    text = rendered(built)
    room = LIMIT - len(text.encode())
    full = [
        downloads.embed(part, sheet, room) if part["id"] == "downloads" else part for part in built
    ]
    return text if full == built else rendered(full)
