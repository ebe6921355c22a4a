"""What a split is to be good at: the list that fronts, verdicts, tables and charts work on.

A new objective is a row of `OBJECTIVES`, and the figure of ``contract.measures`` that it names.
"""

from __future__ import annotations

from dataclasses import dataclass

from paretopipe_runtime.contract import measures


@dataclass(frozen=True)
class Objective:
    """One figure of a run, which way is better, and how to say it."""

    figure: str  # of `contract.measures`: what a run has of it
    lower: bool  # whether less is better
    axis: str  # of a chart, without the unit
    toward: str  # which splits lie at its good end: "answers sooner"
    winner: str  # "the fastest split"
    does: str  # "P3 answers in 0.21 s"
    than: str  # "1.8 times as fast as P9"
    required: bool = False  # whether a run without it does not count
    margin: float | None = None  # a difference that does not matter; None: the report's own

    @property
    def name(self) -> str:
        """Return 'latency', as in '28 % more latency than'."""
        return measures.named(self.figure).label

    @property
    def unit(self) -> str:
        """The unit of its figure."""
        return measures.named(self.figure).unit

    @property
    def title(self) -> str:
        """Return 'Lowest latency', 'Highest throughput'."""
        return f"{'Lowest' if self.lower else 'Highest'} {self.name}"

    @property
    def heading(self) -> str:
        """Return the name as a table's column has it."""
        return self.name[0].upper() + self.name[1:]

    def within(self, delta: float) -> float:
        """Return the ratio below which a difference does not matter."""
        return delta if self.margin is None else self.margin

    def gain(self, one: float, other: float) -> float:
        """Return how many times as good the first value is as the second."""
        return other / one if self.lower else one / other


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
# Two splits that differ by less than this are as good as each other to whoever chooses.
DELTA = 0.02
