"""The page's sections, in reading order.

Each is a module, with its template beside it, whose ``build(sheet)`` returns any number of
sections. Add a new one to ``_ORDER``; one with several parts is a folder whose ``section`` has
``build``.
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
    return [section for module in _ORDER for section in module.build(sheet)]
