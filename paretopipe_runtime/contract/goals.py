"""The user's own goals, such as ``latency<80ms,throughput>150``.

The report's page gets `GOAL`, the measures and `SENTENCES` from here: it reads and refuses the same
texts in the same words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from paretopipe_runtime.contract.units import TIME

#: Measure, sign, number and unit, for Python's and JavaScript's regular expressions.
GOAL = "([a-z]+) *([<>≤≥]=?) *([0-9]+(?:[.][0-9]+)?|[.][0-9]+) *([^ 0-9.].*)?"
SENTENCES = {
    "goal": "'{goal}' is no goal: write e.g. {example}",
    "measure": "unknown measure '{measure}' in '{goal}': choose from {measures}",
    "worse": "'{goal}' asks for what is worse: {better} {measure} is better, so write {turned}",
    "missing": "'{goal}' lacks a unit: write e.g. {example}",
    "unit": "unknown unit '{unit}' in '{goal}': choose from {units}",
}


class GoalError(ValueError):
    """Invalid goal; the message is one sentence with what to write."""


@dataclass(frozen=True)
class Measure:
    """Quantity of a goal; ``units`` are factors to its figure's, "" if it may be left out."""

    figure: str  # of `measures`
    lower: bool  # less is better
    units: Mapping[str, float]
    example: str


MEASURES = {
    "latency": Measure("latency_s", True, TIME, "latency<80ms"),
    "throughput": Measure(
        "throughput_img_s", False, {"": 1.0, "images/s": 1.0, "img/s": 1.0}, "throughput>150"
    ),
    "accuracy": Measure("accuracy", False, {"%": 1.0}, "accuracy>97%"),
}


@dataclass(frozen=True)
class Goal:
    """A limit, in its figure's unit, and the text that says it."""

    measure: str
    limit: float
    text: str = ""

    @property
    def figure(self) -> str:
        return MEASURES[self.measure].figure

    @property
    def lower(self) -> bool:
        return MEASURES[self.measure].lower

    @property
    def reached(self) -> bool:
        """Tell whether the limit itself is good enough."""
        return any(sign in self.text for sign in "=≤≥")


def parse(text: str) -> tuple[Goal, ...]:
    """Parse goals between commas; an empty text has none.

    >>> parse("latency < 80 ms")
    (Goal(measure='latency', limit=0.08, text='latency<80ms'),)

    Raises
    ------
    GoalError
        For anything else.
    """
    return tuple(_goal(part.strip()) for part in text.lower().split(",")) if text.strip() else ()


def _goal(text: str) -> Goal:
    found = re.fullmatch(GOAL, text)
    if not found:
        examples = ",".join(measure.example for measure in MEASURES.values())
        raise _refused("goal", goal=text, example=examples)
    name, sign, number, unit = found[1], found[2], found[3], found[4] or ""
    if name not in MEASURES:
        raise _refused("measure", measure=name, goal=text, measures=", ".join(MEASURES))
    measure = MEASURES[name]
    if measure.lower != (sign[0] in "<≤"):
        better, turned = ("less", "<") if measure.lower else ("more", ">")
        turned = f"{name}{turned}{number}{unit}"
        raise _refused("worse", goal=text, measure=name, better=better, turned=turned)
    if unit not in measure.units:
        units = ", ".join(filter(None, measure.units))
        kind = "unit" if unit else "missing"
        raise _refused(kind, goal=text, unit=unit, units=units, example=measure.example)
    return Goal(name, float(number) * measure.units[unit], f"{name}{sign}{number}{unit}")


def _refused(kind: str, **said: str) -> GoalError:
    return GoalError(SENTENCES[kind].format(**said))
