"""Text and numbers from records, made safe to carry and to print: cut, printable, finite."""

from __future__ import annotations

from typing import Any

NAME = 200  # characters; a longer name is no name that ParetoPipe gives
MESSAGE = 400
# Beyond it no second, byte or image per second was ever measured; and its square is finite.
LARGEST = 1e15


def clean(value: Any, limit: int = NAME) -> str:
    """Return text with an ellipsis where it is cut, and without what cannot be printed."""
    text = value if isinstance(value, str) else str(value)
    if len(text) > limit:
        text = f"{text[: limit - 1]}…"
    return text if text.isprintable() else "".join(c if c.isprintable() else "�" for c in text)


def is_name(value: Any) -> bool:
    """Whether a value can name something: short text."""
    return isinstance(value, str) and 0 < len(value) <= NAME


def is_number(value: Any) -> bool:
    """Whether a value is a finite number of a believable size; neither NaN nor true is one."""
    kind = type(value)
    return (kind is float or kind is int) and -LARGEST < value < LARGEST


def is_count(value: Any, least: int = 0) -> bool:
    """Whether a value is a whole number of a believable size."""
    return type(value) is int and least <= value < LARGEST


def number(value: Any) -> float | None:
    """Return a number as it is, anything else as None."""
    kind = type(value)
    ok = (kind is float or kind is int) and -LARGEST < value < LARGEST
    return value if ok else None


def amount(value: Any) -> float | None:
    """Return a number that is not below zero, anything else as None."""
    kind = type(value)
    ok = (kind is float or kind is int) and 0 <= value < LARGEST
    return value if ok else None
