"""Objectives of a split, for fronts, verdicts, tables and charts.

A new one is a row of `OBJECTIVES` naming a figure of ``contract.measures``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

from paretopipe_runtime.contract import measures
from paretopipe_runtime.contract.accuracy import MARGIN


@dataclass(frozen=True)
class Objective:
    """A figure of a run, its better direction, and its words."""

    figure: str  # of `contract.measures`
    lower: bool  # less is better
    axis: str  # of a chart, without the unit
    toward: str  # its good end: "answers sooner"
    winner: str  # "the fastest split"
    does: str  # "P3 answers in 0.21 s"
    than: str  # "1.8 times as fast as P9"
    required: bool = False  # runs without it do not count
    margin: float | None = None  # difference that does not matter; None: the report's delta
    exact: bool = False  # a percentage of a split, not of each run: differences are in points

    @property
    def name(self) -> str:
        return measures.named(self.figure).label

    @property
    def unit(self) -> str:
        return measures.named(self.figure).unit

    @property
    def title(self) -> str:
        return f"{'Lowest' if self.lower else 'Highest'} {self.name}"

    @property
    def heading(self) -> str:
        return self.name[0].upper() + self.name[1:]

    def within(self, delta: float) -> float:
        """Return the ratio below which differences do not matter."""
        return delta if self.margin is None else self.margin

    def gain(self, one: float, other: float) -> float:
        """Return how many times better the first value is."""
        return other / one if self.lower else one / other

    def level(self, value: float) -> float:
        """Return the scale that differences are judged on: logarithms, of percentages shares."""
        return value / 100 if self.exact else log(value)


LATENCY = Objective(
    figure="latency_s",
    lower=True,
    axis="latency of a batch",
    toward="answers sooner",
    winner="the fastest split",
    does="answers in",
    than="as fast as",
    required=True,
)
THROUGHPUT = Objective(
    figure="throughput_img_s",
    lower=False,
    axis="throughput",
    toward="moves more images",
    winner="the busiest split",
    does="moves",
    than="as many as",
    required=True,
)
OBJECTIVES = (LATENCY, THROUGHPUT)
ACCURACY = Objective(
    figure="accuracy",
    lower=False,
    axis="accuracy",
    toward="tells more images right",
    winner="the most accurate split",
    does="tells right",
    than="as many right as",
    margin=MARGIN / 100,  # unless the sweep or the report is asked for another
    exact=True,
)
# Splits that differ by less are equally good.
DELTA = 0.02
