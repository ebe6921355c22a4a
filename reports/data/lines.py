"""Reading and parsing of record lines; integrity is the contract's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import orjson

from paretopipe_runtime.contract.lines import Record
from reports.errors import ReportError

# A run of 10,000 batches takes 2 MB. Longer lines are no records, and not held in memory.
LONGEST = 64 * 2**20
_AT_ONCE = 2**20  # bytes per read: records fill half of Python's default buffer


def lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Yield number, bytes and completeness of each non-blank line; an overlong one as empty bytes.

    Raises
    ------
    ReportError
        If the file cannot be read.
    """
    try:
        with path.open("rb", buffering=_AT_ONCE) as file:
            number = 0
            while line := file.readline(LONGEST):
                number += 1
                whole = line.endswith(b"\n")
                if not whole and len(line) == LONGEST:
                    line, whole = b"", _skip(file)
                if not line.isspace():
                    yield number, line, whole
    except OSError as error:
        raise ReportError(
            f"E_READ: {path} cannot be read ({error.strerror}), expected a cell file "
            "— check its permissions"
        ) from error


def parse(line: bytes) -> Record | None:
    """Return a line's object, NaN and infinity as None; None if malformed."""
    try:
        record = orjson.loads(line)
    except ValueError:
        # Python's writer spells NaN, Infinity and half surrogates, which are not JSON.
        try:
            record = json.loads(line, parse_constant=lambda _: None)
            line.decode()
            json.dumps(record, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            return None
    return record if isinstance(record, dict) else None


def _skip(file: BinaryIO) -> bool:
    """Skip the rest of a line; return whether it ends."""
    while rest := file.readline(LONGEST):
        if rest.endswith(b"\n"):
            return True
    return False
