"""Strict JSON: one object, unique keys, no NaN, limited depth."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def parse_object(data: bytes, *, depth: int) -> dict[str, Any]:
    """Parse a JSON object; ValueError, without quoting it."""
    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=_pairs,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise ValueError(f"nested deeper than {depth}") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    if _deeper(value, depth):
        raise ValueError(f"nested deeper than {depth}")
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN or Infinity is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number


def _deeper(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_deeper(item, depth - 1) for item in inner)
