"""The page's sections, in reading order.

Each is a module, or a package where it has several parts, with a template of its name beside it.
Its ``build(sheet)`` returns any number of sections. Add a new one to ``_ORDER``.
"""

from __future__ import annotations

from reports.page.sections import (
    against,
    blocks,
    comparisons,
    downloads,
    excluded,
    fronts,
    goals,
    memory,
    methods,
    models,
    provenance,
    resources,
    splits,
    time,
    verdict,
    whatif,
)
from reports.page.sheet import Section, Sheet

_ORDER = (
    verdict,
    against,
    fronts,
    goals,
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
    return [
        {**section, "template": module.__name__.removeprefix(f"{__name__}.")}
        for module in _ORDER
        for section in module.build(sheet)
    ]
