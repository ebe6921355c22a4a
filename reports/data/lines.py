"""Lines of a record file, one at a time: parsed, and believed only if their checksum holds."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from reports.errors import ReportError

Record = dict[str, Any]

# A run of 10,000 batches takes 2 MB. What is longer is no record, and is not held in memory.
LONGEST = 64 * 2**20
_AT_ONCE = 2**20  # bytes read from a file; a record is half as long as Python's usual buffer
_MEMBER = b'"crc32":"'
_MEMBER_BYTES = len(_MEMBER) + 8 + 1  # with its eight digits and the closing quote


def checksum(record: Mapping[str, Any]) -> str:
    """Return the CRC-32 of a record without its ``crc32`` key, as 8 hex digits."""
    rest = {key: value for key, value in record.items() if key != "crc32"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{zlib.crc32(text.encode()):08x}"


def lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Yield number, bytes and wholeness of each line that is not blank.

    Only the last can lack its end. A line longer than any record comes as empty bytes.

    Raises
    ------
    ReportError
        The file cannot be read.
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
    """Return the object on a line, or None; NaN and infinity come as None, being no numbers."""
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


def intact(line: bytes, record: Record) -> bool:
    """Whether a line's checksum holds."""
    stated = record.get("crc32")
    if not isinstance(stated, str):
        return False
    if f"{_cut_checksum(line):08x}" == stated:
        return True
    try:
        # As Python reads it: NaN was part of what was summed up.
        return checksum(json.loads(line)) == stated
    except (ValueError, RecursionError):
        return False


def _cut_checksum(line: bytes) -> int:
    """Sum up the line without its ``crc32`` member: what the writer of a sorted line summed up."""
    start = line.find(_MEMBER)
    if start < 0:
        return -1
    end = start + _MEMBER_BYTES
    view = memoryview(line.rstrip())
    if bytes(view[end : end + 1]) == b",":
        return zlib.crc32(view[end + 1 :], zlib.crc32(view[:start]))
    return zlib.crc32(view[end:], zlib.crc32(view[: max(0, start - 1)]))


def _skip(file: BinaryIO) -> bool:
    """Read on to the end of a line; return whether it has one."""
    while rest := file.readline(LONGEST):
        if rest.endswith(b"\n"):
            return True
    return False
