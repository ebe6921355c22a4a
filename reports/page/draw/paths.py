"""SVG path data: parse, move, measure, write compactly."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

_SIZES = {"M": 2, "L": 2, "Q": 4, "C": 6, "Z": 0}
_TOKEN = re.compile(r"[MLQCZz]|-?\d*\.?\d+(?:e-?\d+)?")


class Step(NamedTuple):
    """An absolute command with its x and y coordinates."""

    command: str
    at: tuple[float, ...] = ()


Path = tuple[Step, ...]


@lru_cache(1024)  # equal marks share their data
def parse(text: str) -> Path:
    """Parse matplotlib's path data: absolute M, L, Q, C and z only."""
    tokens = _TOKEN.findall(text)
    steps, place = [], 0
    while place < len(tokens):
        command = tokens[place].upper()
        size = _SIZES[command]
        steps.append(Step(command, tuple(map(float, tokens[place + 1 : place + 1 + size]))))
        place += 1 + size
    return tuple(steps)


def moved(path: Path, x: float, y: float) -> Path:
    return tuple(
        Step(
            step.command,
            tuple(value + (y if index % 2 else x) for index, value in enumerate(step.at)),
        )
        for step in path
    )


def bounds(path: Path) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom, control points included."""
    xs = [value for step in path for value in step.at[::2]]
    ys = [value for step in path for value in step.at[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


def alike(one: Path, other: Path) -> bool:
    """Tell whether two paths are equal to within 0.02 points."""
    return [step.command for step in one] == [step.command for step in other] and all(
        abs(a - b) < 0.02
        for ours, theirs in zip(one, other, strict=True)
        for a, b in zip(ours.at, theirs.at, strict=True)
    )


def write(path: Path, places: int = 1) -> str:
    """Write path data with so many decimals, short forms for horizontal and vertical lines."""
    parts: list[str] = []
    start: tuple[float, ...] = ()
    last: tuple[float, ...] = ()
    rounded = [Step(s.command, tuple(round(v, places) for v in s.at)) for s in path]
    for step, after in pairwise([*rounded, Step("")]):
        command, values = step.command, step.at
        if command == "M":
            start = values
        elif command == "L" and after.command == "Z" and values == start:
            continue  # closing draws this line
        elif command == "L" and values == last:  # a dot: zero length, round ends
            command, values = "h", (0.0,)
        elif command == "L" and values[1:] == last[1:]:
            command, values = "H", values[:1]
        elif command == "L" and values[:1] == last[:1]:
            command, values = "V", values[1:]
        parts.append(("z" if command == "Z" else command) + _numbers(values))
        last = step.at[-2:] or start
    return "".join(parts)


def number(value: float, places: int = 1) -> str:
    """Return a coordinate without needless digits: 12.5, 3, -.4."""
    text = f"{value:.{places}f}".rstrip("0").rstrip(".") if places else f"{value:.0f}"
    if text.startswith("0."):
        return text[1:]
    if text.startswith("-0."):
        return f"-{text[2:]}"
    return "0" if text == "-0" else text


def _numbers(values: Sequence[float]) -> str:
    text = ""
    for value in values:
        said = number(value, 2)
        text += said if not text or said.startswith("-") else f" {said}"
    return text
