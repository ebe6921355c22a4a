"""Lines of a records file: schema, canonical JSON, checksum."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

Record = dict[str, Any]

SCHEMA_VERSION = 1
PLAN = "plan"
MEASURED = ("run", "profile", "link")  # kinds of measurement records
WITHDRAWAL = "withdrawal"  # of an earlier attempt
DRIFT = "drift"  # limit and verdict on a cell's rounds
NOISE = "noise"  # its hosts' own scatter, before they measured it
ACCURACY = "accuracy"  # of a split with a codec, or why it is not known
_MEMBER = b'"crc32":"'
_MEMBER_BYTES = len(_MEMBER) + 8 + 1  # with its eight digits and the closing quote


def canonical(value: Any) -> bytes:
    """Return the JSON form that digests are taken over."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def checksum(record: Mapping[str, Any]) -> str:
    """Return a record's CRC-32 without its ``crc32`` key, as 8 hex digits."""
    rest = {key: value for key, value in record.items() if key != "crc32"}
    return f"{zlib.crc32(canonical(rest)):08x}"


def sealed(record: Mapping[str, Any]) -> tuple[Record, bytes]:
    """Return a record with schema and checksum, and its line."""
    body = {"schema_version": SCHEMA_VERSION, **record}
    body["crc32"] = checksum(body)
    return body, canonical(body) + b"\n"


def intact(line: bytes, record: Mapping[str, Any]) -> bool:
    """Tell whether the checksum of a line, parsed as `record`, holds."""
    stated = record.get("crc32")
    if not isinstance(stated, str):
        return False
    if f"{_cut_checksum(line):08x}" == stated:
        return True
    try:
        # Parsed by Python: the checksum may cover a NaN.
        return checksum(json.loads(line)) == stated
    except (ValueError, RecursionError):
        return False


def _cut_checksum(line: bytes) -> int:
    start = line.find(_MEMBER)
    if start < 0:
        return -1
    end = start + _MEMBER_BYTES
    view = memoryview(line.rstrip())
    if bytes(view[end : end + 1]) == b",":
        return zlib.crc32(view[end + 1 :], zlib.crc32(view[:start]))
    return zlib.crc32(view[end:], zlib.crc32(view[: max(0, start - 1)]))
