"""Checks of values that a line states, and safe text and numbers from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

NAME = 200  # characters, above any name that ParetoPipe gives
# Above any real figure; its square is finite.
LARGEST = 1e15
_DEEPEST = 6  # levels of lists and objects inside a setting

Check = Callable[[Any], bool]


def clean(value: Any, limit: int = NAME) -> str:
    """Return printable text, cut with an ellipsis."""
    text = value if isinstance(value, str) else str(value)
    if len(text) > limit:
        text = f"{text[: limit - 1]}…"
    return text if text.isprintable() else "".join(c if c.isprintable() else "�" for c in text)


def is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= NAME


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number of believable size."""
    kind = type(value)
    return (kind is float or kind is int) and -LARGEST < value < LARGEST


def is_count(value: Any, least: int = 0) -> bool:
    """Tell whether a value is an integer of believable size."""
    return type(value) is int and least <= value < LARGEST


def number(value: Any) -> float | None:
    """Return a number as it is, anything else as None."""
    kind = type(value)
    ok = (kind is float or kind is int) and -LARGEST < value < LARGEST
    return value if ok else None


def amount(value: Any) -> float | None:
    """Return a non-negative number as it is, anything else as None."""
    kind = type(value)
    ok = (kind is float or kind is int) and 0 <= value < LARGEST
    return value if ok else None


def attempt(record: dict[str, Any]) -> bool:
    """Tell whether a record says of which run it is, and what became of it."""
    return (
        is_count(record.get("attempt"))
        and is_name(record.get("run_key"))
        and is_name(record.get("cell_id"))
        and isinstance(record.get("status"), str)
        and is_count(record.get("block_pass", 1), 1)
        and isinstance(record.get("factors"), dict)
    )


def flat(value: Any) -> bool:
    """Tell whether this is None or a dict of scalars."""
    return value is None or (
        isinstance(value, dict)
        and not any(isinstance(item, list | dict) for item in value.values())
        and setting(value)
    )


def fits(values: dict[str, Any], checks: dict[str, Check]) -> bool:
    """Tell whether each value stands its check, else is a `setting`; null is not stated."""
    return all(
        value is None or (checks.get(key, setting)(value) and len(key) <= NAME)
        for key, value in values.items()
    )


def setting(value: Any, deep: int = 0) -> bool:
    """Tell whether this is a scalar or a shallow structure."""
    if isinstance(value, list | dict):
        inner: Iterable[Any] = value.values() if isinstance(value, dict) else value
        named = all(len(key) <= NAME for key in value) if isinstance(value, dict) else True
        return deep < _DEEPEST and named and all(setting(item, deep + 1) for item in inner)
    return (
        value is None
        or isinstance(value, bool)
        or is_number(value)
        or (isinstance(value, str) and len(value) <= 10 * NAME)
    )
