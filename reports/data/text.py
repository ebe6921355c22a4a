"""Safe text and numbers from records: cut, printable, finite."""

from __future__ import annotations

from typing import Any

NAME = 200  # characters, above any name that ParetoPipe gives
MESSAGE = 400
# Above any real figure; its square is finite.
LARGEST = 1e15


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
