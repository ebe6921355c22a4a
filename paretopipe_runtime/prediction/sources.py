"""Profiles and links in a sweep's folder of records."""

from __future__ import annotations

import re
from pathlib import Path

from paretopipe_runtime.contract.lines import WITHDRAWAL, Record
from paretopipe_runtime.prediction.profiles import Link, Profile, links, profiles, usable
from paretopipe_runtime.records import lines, parse

# Runs are most of a folder, and their lines long: not parsed.
_NEEDED = re.compile(rb'"kind": ?"(?:profile|link|withdrawal)"')


def read(folder: Path) -> tuple[tuple[Profile, ...], tuple[Link, ...]]:
    """Return all valid profiles and links of a folder's ``*.jsonl`` files.

    Torn and damaged lines, and withdrawn attempts, do not count. Raises ``E_SCHEMA`` for records of
    a newer ParetoPipe.
    """
    found: dict[str, list[Record]] = {"profile": [], "link": []}
    withdrawn = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in lines(path):
            record = parse(line, path) if _NEEDED.search(line) else None
            kind = record.get("kind") if record else None
            if record and kind == WITHDRAWAL:
                withdrawn[_place(record)] = record.get("status")
            elif record and kind in found and usable(record):
                found[kind].append(record)
    for records in found.values():
        for record in records:
            record["status"] = withdrawn.get(_place(record), record["status"])
    return profiles(found["profile"]), links(found["link"])


def _place(record: Record) -> tuple[object, ...]:
    return record.get("cell_id"), record.get("run_key"), record.get("attempt")
