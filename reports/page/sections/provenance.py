"""Where the numbers come from."""

from __future__ import annotations

from reports.page import provenance
from reports.page.sheet import Section, Sheet


def build(sheet: Sheet) -> list[Section]:
    """Return code, settings, network, hosts and run ids."""
    names, facts = provenance.hosts(sheet.records.runs)
    return [
        {
            **{"id": "provenance", "title": "Provenance", "template": "provenance"},
            "code": provenance.code(sheet.records.plans),
            "settings": provenance.settings(sheet.cells, sheet.used),
            "options": provenance.options(sheet.cells),
            "conditions": provenance.conditions(sheet.cells, sheet.frame),
            "host_names": names,
            "host_facts": facts,
            "run_ids": provenance.run_ids(sheet.cells, sheet.frame),
        }
    ]
