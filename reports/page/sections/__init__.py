"""The page's sections, in reading order: each a module with ``build`` and a template beside it.

``build(sheet)`` returns the sections that the sheet has something to say in: usually one, none
where there is nothing to show, several where there are several comparisons. A new one is a module
and its template in ``_ORDER``; one with several parts is a folder whose ``section`` builds it.
"""

from __future__ import annotations

from reports.page.sections import (
    blocks,
    downloads,
    excluded,
    fronts,
    memory,
    methods,
    models,
    provenance,
    resources,
    splits,
    time,
    whatif,
)
from reports.page.sections.comparisons import section as comparisons
from reports.page.sections.verdict import section as verdict
from reports.page.sheet import Section, Sheet

_ORDER = (
    verdict,
    fronts,
    whatif,
    splits,
    time,
    resources,
    blocks,
    models,
    comparisons,
    memory,
    provenance,
    excluded,
    methods,
    downloads,
)


def build(sheet: Sheet) -> list[Section]:
    """Return every section of a page."""
    return [section for module in _ORDER for section in module.build(sheet)]
