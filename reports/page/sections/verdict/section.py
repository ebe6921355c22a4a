"""The first screen's section: a table of answers, then a card a cell."""

from __future__ import annotations

from reports.page.figures import margin
from reports.page.sections import provenance
from reports.page.sections.verdict import changes, notes, summary
from reports.page.sections.verdict.answer import sentences
from reports.page.sheet import Section, Sheet


def build(sheet: Sheet) -> list[Section]:
    groups = [
        {
            **sheet.heading(group),
            "lines": [
                *summary.answers(group, sheet.objectives, sheet.contests),
                *summary.whichever(group, sheet.objectives),
            ],
            "changes": [
                *changes.one_for_all(group, sheet.objectives),
                *changes.between(group, sheet.contests),
                *changes.predicted(group, sheet.predictors),
            ],
            "cells": [
                {
                    "scenario": cell.scenario,
                    "asked": provenance.asked(cell.asked),
                    "sentences": sentences(
                        cell, sheet.judgements[cell.id], sheet.contests[cell.id]
                    ),
                }
                for cell in group
            ],
        }
        for group in sheet.groups
    ]
    return [
        {
            **{"id": "verdict", "title": "Verdict", "template": "verdict/section"},
            "notes": notes.notes(sheet.records, sheet.cells, sheet.frame),
            "groups": groups,
            "unlocked": any(cell.unlocked for cell in sheet.cells),
            "delta": margin(sheet.delta),
            "titles": [objective.title for objective in sheet.objectives],
        }
    ]
