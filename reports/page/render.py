"""Put the page together: the sections' facts into the templates."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from reports import paper
from reports.data.records import Records
from reports.page import memory, provenance, sections
from reports.page.sheet import Sheet
from reports.words import count, listing, number


def render(records: Records) -> tuple[str, str]:
    """Return the page and the CSV for these records: the same records, the same bytes."""
    sheet = Sheet.of(records)
    frame = sheet.frame
    models = [
        paper.model_name(model) for model in dict.fromkeys(cell.model for cell in sheet.cells)
    ]
    page = _environment().get_template("report.html.j2")
    html = page.render(
        models=listing([*models]),
        when=provenance.when(frame),
        summary=f"{count(int(frame['counted'].sum()), 'valid run')} of "
        f"{count(len(frame), 'attempt')}",
        sections=sections.build(sheet),
    )
    return html, sheet.csv


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(mebibytes=memory.mebibytes, number=number)
    return environment
