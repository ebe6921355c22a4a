"""The first screen: what to do, and what to know before believing it."""

from __future__ import annotations

from reports.page import notes, provenance
from reports.page.sheet import Section, Sheet
from reports.page.verdict import scenarios, sentences


def build(sheet: Sheet) -> list[Section]:
    """Return the verdict: one card a cell."""
    groups = [
        {
            **sheet.heading(group),
            "changes": scenarios(group),
            "cells": [
                {
                    "scenario": cell.scenario,
                    "asked": provenance.asked(cell.asked),
                    "sentences": sentences(cell),
                }
                for cell in group
            ],
        }
        for group in sheet.groups
    ]
    return [
        {
            **{"id": "verdict", "title": "Verdict", "template": "verdict"},
            "notes": notes.notes(sheet.records, sheet.cells, sheet.frame),
            "groups": groups,
            "unlocked": any(cell.unlocked for cell in sheet.cells),
        }
    ]
