"""A line of a records file: its schema, its one JSON form, its checksum."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

Record = dict[str, Any]

SCHEMA_VERSION = 1
PLAN = "plan"
MEASURED = ("run", "profile", "link")  # kinds of records that are attempts at a measurement
WITHDRAWAL = "withdrawal"  # says of an earlier attempt that it does not count after all
DRIFT = "drift"  # what the sentinels told of a cell's blocks, and by which limit
_MEMBER = b'"crc32":"'
_MEMBER_BYTES = len(_MEMBER) + 8 + 1  # with its eight digits and the closing quote


def canonical(value: Any) -> bytes:
    """Return the one JSON form that digests are taken over."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def checksum(record: Mapping[str, Any]) -> str:
    """Return the CRC-32 of a record without its ``crc32`` key, as 8 hex digits."""
    rest = {key: value for key, value in record.items() if key != "crc32"}
    return f"{zlib.crc32(canonical(rest)):08x}"


def sealed(record: Mapping[str, Any]) -> tuple[Record, bytes]:
    """Return a record with its schema and checksum, and the line that is written of it."""
    body = {"schema_version": SCHEMA_VERSION, **record}
    body["crc32"] = checksum(body)
    return body, canonical(body) + b"\n"


def intact(line: bytes, record: Mapping[str, Any]) -> bool:
    """Whether the checksum on a line, parsed as `record`, holds."""
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
