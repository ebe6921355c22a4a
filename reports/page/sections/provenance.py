"""Where the numbers come from, and how to measure them again."""

from __future__ import annotations

from reports.data import repeat
from reports.page import provenance
from reports.page.sheet import Section, Sheet


def build(sheet: Sheet) -> list[Section]:
    """Return code, settings, digests, network, hosts and the commands."""
    names, facts = provenance.hosts(sheet.records.runs)
    return [
        {
            **{"id": "provenance", "title": "Provenance", "template": "provenance"},
            "code": provenance.code(sheet.records.plans),
            "settings": {
                **provenance.settings(sheet.cells, sheet.used),
                **provenance.ciphers(sheet.frame),
            },
            "digests": provenance.digests(sheet.frame),
            "commands": repeat.commands(sheet.cells),
            "options": provenance.options(sheet.cells),
            "conditions": provenance.conditions(sheet.cells, sheet.frame),
            "host_names": names,
            "host_facts": facts,
            "excluded": int((~sheet.frame["counted"]).sum()),
        }
    ]
